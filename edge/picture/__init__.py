"""Numbers as levels, colors and bars: shared by every screen and page."""
