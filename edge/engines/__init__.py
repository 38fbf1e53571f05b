"""The runtimes: each runs one checkpoint on one thread, and hands out numpy."""
