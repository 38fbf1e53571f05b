"""Jobs: work that takes longer than a frame, one per file. The runner does them on its own thread."""
