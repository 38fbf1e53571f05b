"""What running a model costs: time of passes and of their parts, memory, and what the machine could do."""
