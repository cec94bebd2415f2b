"""A stub of a vLLM server: the real protocol, honest about prefill, batching and prefix cache."""
