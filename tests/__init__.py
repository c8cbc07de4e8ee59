"""sniproxy's tests, for trial. tests/peers has the real peers; everything else needs no network and no privilege."""

from hypothesis import settings

# A deadline would make a slow machine fail a test that checks no time.
settings.register_profile("sniproxy", deadline=None)
settings.load_profile("sniproxy")
