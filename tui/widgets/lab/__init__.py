"""Widgets of the Lab view."""
