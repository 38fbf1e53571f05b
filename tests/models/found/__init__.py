"""Tests of `models.found`."""
