"""The terminal UI: shows traces and drives runs."""
