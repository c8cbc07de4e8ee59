"""sniproxy's tests, for trial. tests/peers has the real peers; everything else needs no network and no privilege."""

from hypothesis import HealthCheck, settings

# A deadline, or a health check of the time, would make a slow machine fail a test that checks no time.
settings.register_profile("sniproxy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sniproxy")
