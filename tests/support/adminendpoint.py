"""The admin table of a configuration."""

from __future__ import annotations

ADMIN = '[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
