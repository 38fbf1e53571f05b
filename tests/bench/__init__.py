"""`python -m tests.bench`: Edge's engines beside other runtimes, in ratios measured in one run."""
