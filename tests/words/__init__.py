"""Checks that everything people read uses plain words: `python -m tests.words PATH...` lists what does not."""
