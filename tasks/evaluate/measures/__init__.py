"""One file a measure: a named function of one case."""
