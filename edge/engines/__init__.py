"""The engines. Each runs one checkpoint on one thread and returns numpy arrays."""
