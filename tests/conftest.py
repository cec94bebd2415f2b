"""Settings of the test run as a whole."""

from hypothesis import settings

# Tests share two cores with whatever else runs; a slow example is no wrong one.
settings.register_profile("ratchet", deadline=None)
settings.load_profile("ratchet")
