"""Experiments on a loaded model: each claim with effects, baselines and a verdict."""
