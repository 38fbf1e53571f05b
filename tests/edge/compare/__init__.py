"""Tests of `edge.compare`."""
