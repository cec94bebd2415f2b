"""Chunk -> embeddings -> FAISS -> IndexVersion -> search."""
