"""Own code beside its peers on one machine, and the simulations that are too long for the tests."""
