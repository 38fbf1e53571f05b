"""Where a checkpoint comes from: a folder, a GGUF file, and formats of quantized weights."""
