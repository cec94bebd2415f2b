"""The work, in the order in which data flows, from the corpus to the report."""
