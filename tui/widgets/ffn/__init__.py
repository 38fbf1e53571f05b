"""Widgets of the FFN view."""
