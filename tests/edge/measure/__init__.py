"""Tests of `edge.measure`."""
