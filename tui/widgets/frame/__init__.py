"""Widgets around the view: header, prompt, tokens, tabs and keys."""
