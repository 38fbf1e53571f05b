"""A trace, and what was measured beside it, as one page that opens anywhere; a profile as a timeline."""
