"""Quantized weights in checkpoint folders, in the formats of mlx-lm, GPTQ, AWQ and compressed-tensors."""
