"""Models that lie on this machine: in the hub's cache, and in folders of Ollama, LM Studio and llama.cpp."""
