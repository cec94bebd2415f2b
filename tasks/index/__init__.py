"""Chunk -> embeddings -> segments -> IndexVersion -> search."""
