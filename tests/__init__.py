"""sniproxy's tests, for trial. tests/peers has the real peers; everything else needs no network and no privilege."""

import faulthandler
import os
import signal

from hypothesis import HealthCheck, settings

if "TEST_STACKS" in os.environ:  # tests.run asks for what a run that does not end waits for
    stacks = open(f"{os.environ['TEST_STACKS']}/{os.getpid()}", "w")  # noqa: SIM115 - open as long as the process
    faulthandler.register(signal.SIGQUIT, file=stacks)

# A deadline, or a health check of the time, would make a slow machine fail a test that checks no time. In CI each run
# has the same examples, so that a failure comes from the change. EXAMPLES: their number for each test.
settings.register_profile(
    "sniproxy",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
    max_examples=int(os.environ.get("EXAMPLES", "100")),
    print_blob=True,
)
settings.load_profile("sniproxy")
