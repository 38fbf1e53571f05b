"""`python -m tests.bench`: speed of Edge and of other runtimes, as ratios measured in one run."""
