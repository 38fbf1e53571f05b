"""What the digit keys lead to, one view a file; all of them show one selection."""
