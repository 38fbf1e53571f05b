"""Invariants (laws) of every engine, precision and model family, each checked as a measured difference."""
