"""Tests for sniproxy.migrate.envoy.sources."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.envoy.messages import text
from sniproxy.migrate.envoy.sources import Sources, eds_name, gather
from sniproxy.migrate.model import MigrateError, Notes, SourceFile
from tests.support.envoyconfig import as_json, bootstrap, cluster, listener, notes

TYPE = "type.googleapis.com/envoy.config"


class GatherTests(SynchronousTestCase):
    """Where listeners and clusters may be."""

    def setUp(self) -> None:
        self.report = Notes()

    def gathered(self, *documents: object) -> Sources:
        files = [SourceFile(f"etc/{number}.yaml", as_json(one)) for number, one in enumerate(documents)]
        return gather(files, self.report)

    def names(self, found: Sources) -> tuple[list[str], list[str]]:
        return [text(one, "name") for one in found.listeners], list(found.clusters)

    def test_bootstrap(self) -> None:
        """Of several files; a second cluster of a name is reported."""
        first = bootstrap([listener("one", 1, [])], [cluster("a", "10.0.0.1:1")])
        second = {"listeners": [listener("two", 2, [])], "clusters": [cluster("a", "10.0.0.2:1"), cluster("b")]}
        self.assertEqual((["one", "two"], ["a", "b"]), self.names(self.gathered(first, second)))
        self.assertIn("a second cluster named a", notes(self.report, True))

    def test_resource_files(self) -> None:
        """Files of the xDS: resources with their types. A bootstrap that names only them lacks nothing."""
        dynamic = {
            "lds_config": {"path_config_source": {"path": "/etc/envoy/1.yaml"}},
            "cds_config": {"path": "/etc/envoy/2.yaml"},
        }
        listeners = {"resources": [{"@type": f"{TYPE}.listener.v3.Listener", **listener("one", 1, [])}, {"@type": "x"}]}
        assignment = {"@type": f"{TYPE}.endpoint.v3.ClusterLoadAssignment", "cluster_name": "svc"}
        clusters = {"resources": [{"@type": f"{TYPE}.cluster.v3.Cluster", **cluster("a")}, assignment]}
        found = self.gathered({"dynamic_resources": dynamic, "admin": {"address": {}}}, listeners, clusters)
        self.assertEqual((["one"], ["a"]), self.names(found))
        self.assertEqual(["svc"], list(found.assignments))
        self.assertEqual("", notes(self.report))

    def test_dynamic_resources(self) -> None:
        """Resources of a server are reported, with the way to get them."""
        self.gathered(
            {"dynamic_resources": {"ads_config": {"api_type": "GRPC"}}, "listeners": [listener("one", 1, [])]}
        )
        self.assertIn("config_dump?include_eds", notes(self.report, True))

    def test_configuration_dump(self) -> None:
        """What the admin interface prints: static and dynamic parts, with endpoints."""
        dump = {
            "configs": [
                {"@type": "BootstrapConfigDump", "bootstrap": bootstrap([listener("no", 1, [])], [])},
                {
                    "static_clusters": [{"cluster": cluster("a")}],
                    "dynamic_active_clusters": [{"cluster": cluster("b")}],
                },
                {
                    "static_listeners": [{"listener": listener("one", 1, [])}],
                    "dynamic_listeners": [
                        {"active_state": {"listener": listener("two", 1, [])}},
                        {"error_state": {"details": "x"}},
                    ],
                },
                {"dynamic_endpoint_configs": [{"endpoint_config": {"cluster_name": "b"}}, {"other": 1}]},
            ]
        }
        found = self.gathered(dump)
        self.assertEqual((["one", "two"], ["a", "b"]), self.names(found))
        self.assertEqual(["b"], list(found.assignments))

    def test_other_keys(self) -> None:
        """Tables of other things are reported."""
        self.gathered({"listeners": [listener("one", 1, [])], "something": {"a": 1}, "flag": 1})
        self.assertEqual("left_out something: something is not read", notes(self.report))

    def test_no_listener(self) -> None:
        """A file without a listener is an error with its cure."""
        with self.assertRaises(MigrateError) as raised:
            self.gathered({"admin": {}})
        self.assertIn("etc/0.yaml: no listener of Envoy", str(raised.exception))

    def test_name_of_endpoints(self) -> None:
        """EDS has the endpoints by the service's name, or the cluster's."""
        found = self.gathered({
            "listeners": [listener("one", 1, [])],
            "clusters": [{"name": "a"}, {"name": "b", "eds_cluster_config": {"service_name": "svc"}}],
        })  # fmt: skip
        self.assertEqual(["a", "svc"], [eds_name(one) for one in found.clusters.values()])
