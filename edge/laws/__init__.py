"""The laws that hold for every engine, precision and family, each as a check that reports a number."""
