"""Writes a trace as one HTML page, with a profile, a comparison and a lab if given; and a profile as a timeline."""
