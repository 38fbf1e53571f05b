"""Widgets of the Parity view."""
