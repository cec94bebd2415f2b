"""The commands of `ratchet`, a file for each thing that people do."""
