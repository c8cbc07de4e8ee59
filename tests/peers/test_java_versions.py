"""Java clients of the other versions with the brokers of this run's: older with newer, and newer with older."""

from __future__ import annotations

from tests.peers import lab, provide, versions
from tests.peers.case import PulsarTestCase
from tests.peers.material import SERVICE_NAME
from tests.peers.needs import require


class OtherVersionTests(PulsarTestCase):
    """Clients that verify host names."""

    def test_both_phases(self) -> None:
        """A client of each other version looks up and uses topics of both brokers by PIP-60."""
        cluster = self.lab.cluster
        for client in versions.ALL:
            if client == self.pulsar:
                continue
            require(parts=provide.needed(client))
            topics = cluster.topic_of_each(f"public/default/by-{client.name}")
            proxy = self.proxy(lab.routes(cluster))
            outcome = self.java_of(client, proxy, topics.values(), timeout=60)
            self.assert_all_came_back(outcome, topics.values())
            self.assertEqual(set(proxy.names(SERVICE_NAME, *topics)), {SERVICE_NAME, *topics})
