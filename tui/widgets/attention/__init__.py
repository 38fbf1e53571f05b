"""Widgets of the Attention view."""
