"""Tests for tests.peers.versions."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import versions


class VersionsTests(SynchronousTestCase):
    """The list, and the version of a run."""

    def test_list(self) -> None:
        """The versions are in order, each with one release of its own feature release."""
        numbers = [pulsar.number for pulsar in versions.ALL]
        self.assertEqual(numbers, sorted(set(numbers)))
        for pulsar in versions.ALL:
            self.assertEqual(pulsar.release.rpartition(".")[0], pulsar.name)

    def test_version_of_a_run(self) -> None:
        """PULSAR in the environment names it; without, or empty, it is the default."""
        self.assertEqual(versions.current({"PULSAR": "4.0"}).name, "4.0")
        self.assertEqual(versions.current({"PULSAR": ""}).name, versions.DEFAULT)
        self.assertEqual(versions.current({}).name, versions.DEFAULT)

    def test_unknown_version(self) -> None:
        """An unknown version is an error with the names there are."""
        failure = self.assertRaises(ValueError, versions.current, {"PULSAR": "3.0"})
        self.assertIn("no Pulsar 3.0 here, only 4.0, ", str(failure))

    def test_scalable(self) -> None:
        """Scalable topics came with 5.0."""
        self.assertEqual([pulsar.name for pulsar in versions.ALL if not pulsar.scalable], ["4.0", "4.2"])
