"""One module for each claim, and modules that several claims share."""
