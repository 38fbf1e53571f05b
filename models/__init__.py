"""What a decoder is: its spec, its weights, and its computation in torch and MLX."""
