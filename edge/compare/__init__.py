"""Compares variants of a model with a reference: predictions, activations, speed and memory."""
