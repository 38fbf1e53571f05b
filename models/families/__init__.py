"""Families of checkpoints: rules that turn a `config.json` into a spec, and name every weight."""
