"""What a model's weights say of one place in a trace, and what ablation says of that; no engine is known here."""
