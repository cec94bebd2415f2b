"""A package, so that an installed one that is called tests too does not take its place."""
