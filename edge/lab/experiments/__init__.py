"""One claim a module, and what several of them share."""
