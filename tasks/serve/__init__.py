"""Model weights, the vLLM process, and the one door to any model."""
