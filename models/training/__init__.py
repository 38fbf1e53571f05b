"""Trains the bundled models, evaluates them, and writes their cards."""
