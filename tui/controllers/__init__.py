"""What the main screen is made of: each controller owns one task, and changes the state of the screen."""
