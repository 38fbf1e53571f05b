"""How far variants of a model are apart, where that begins, and what it costs: each beside a reference."""
