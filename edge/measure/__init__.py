"""Numbers about a run, each with its definition, unit and source."""
