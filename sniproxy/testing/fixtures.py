"""The embedded cluster as a fixture of pytest, which loads this module by its entry point.

pytest is no dependency of sniproxy. Loading this module loads neither Twisted nor the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sniproxy.testing.pulsar import PulsarCluster

pytest: Any = import_module("pytest")

_MARKER = "pulsar_cluster(brokers=2, tls=False, ...): arguments of the PulsarCluster of the fixture pulsar_cluster"


def pytest_configure(config: Any) -> None:
    """Describe the marker, so that --strict-markers accepts it."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture  # type: ignore[untyped-decorator]
def pulsar_cluster(request: Any) -> Iterator[PulsarCluster]:
    """An embedded Pulsar cluster in a thread of its own, new for each test.

    ``@pytest.mark.pulsar_cluster(...)`` gives the arguments of `sniproxy.testing.pulsar.PulsarCluster`.
    """
    from sniproxy.testing.pulsar import PulsarCluster

    marker = request.node.get_closest_marker("pulsar_cluster")
    with PulsarCluster(*(marker.args if marker else ()), **(marker.kwargs if marker else {})) as cluster:
        yield cluster
