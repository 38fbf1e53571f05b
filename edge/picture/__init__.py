"""Numbers as levels, colours and bars: shared by every screen and page."""
