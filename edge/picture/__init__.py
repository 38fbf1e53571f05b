"""Converts numbers to color levels, bars and texts, for the terminal UI and HTML pages."""
