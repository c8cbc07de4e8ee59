"""A token of the admin endpoint, for tests."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

TOKEN = "0123456789abcdef-secret"


def token_file(case: SynchronousTestCase, text: str = f"{TOKEN}\n", mode: int = 0o600) -> Path:
    """A file with a token. @param mode: its permissions."""
    path = Path(case.mktemp()).absolute()
    path.write_text(text)
    path.chmod(mode)
    return path


def admin_with_token(path: Path) -> str:
    """An [admin] table with a token and a free loopback port."""
    return f'[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\ntoken_file = "{path}"\n'
