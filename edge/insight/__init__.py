"""What the weights of a model say about one token of a trace, and how ablation agrees; independent of engines."""
