"""Experiments on a loaded model: each claim with a number, a baseline and a verdict."""
