"""Families of checkpoints: a spec out of config.json, and a name for every weight."""
