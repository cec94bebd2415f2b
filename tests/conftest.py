"""Settings of the test run as a whole."""

from hypothesis import settings

# Tests share two cores with whatever else runs; a slow example is no wrong one.
settings.register_profile("ratchet", deadline=None)
settings.register_profile("thorough", parent=settings.get_profile("ratchet"), max_examples=3000)
settings.load_profile("ratchet")
