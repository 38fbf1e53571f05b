"""Tests, in the tree of what they test."""

from tests.checking import checked as checked
