"""An older revision of the code."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.before import checkout
from bench.childprocess import SKIPPED, LoadError
from tests.support import programs


class CheckoutTests(SynchronousTestCase):
    """Taking it out of the history."""

    def repository(self) -> tuple[Path, str]:
        """A repository with one commit."""
        root = Path(self.mktemp()).absolute()
        for name in ("sniproxy", "twisted"):
            (root / name).mkdir(parents=True)
            (root / name / "code.py").write_text("before")
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.test", "-c", "commit.gpgsign=false"]
        for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "x"]):
            programs.run(["git", "-C", str(root), *words], check=True)
        said = programs.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        return root, said.stdout.strip()

    def test_checkout(self) -> None:
        """The folder has the code of the revision, not today's, and is made once."""
        root, revision = self.repository()
        (root / "sniproxy" / "code.py").write_text("after")
        folder = checkout(revision, root)
        self.assertEqual((folder / "sniproxy" / "code.py").read_text(), "before")
        self.assertEqual(folder.parent.parent.parent, root)
        (folder / "mark").touch()
        self.assertTrue((checkout(revision, root) / "mark").exists())
        self.assertEqual([folder], list(folder.parent.iterdir()))

    def test_missing(self) -> None:
        """Without the revision the runs are skipped."""
        root, _ = self.repository()
        error = self.assertRaises(LoadError, checkout, "1" * 40, root)
        self.assertTrue(str(error).startswith(f"{SKIPPED}no revision 1111111 here"), error)
