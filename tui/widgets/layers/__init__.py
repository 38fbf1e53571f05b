"""Widgets of the Layers view."""
