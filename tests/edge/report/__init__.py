"""Tests of `edge.report`."""
