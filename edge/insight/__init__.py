"""What a model's weights say of one place in a trace; no engine takes part."""
