"""The kinds of sublayers, one module each: sizes, parameters, sites, timed parts, state and work."""
