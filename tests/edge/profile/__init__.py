"""Tests of `edge/profile`."""
