"""Work that takes longer than a frame, one job a file; the runner does it off the UI's thread."""
