"""Widgets of the Time view."""
