"""Profiles of a model: latency of passes and their parts, memory, and limits of the machine."""
