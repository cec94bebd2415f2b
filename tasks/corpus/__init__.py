"""Sources -> Document -> Chunk, with exact character spans."""
