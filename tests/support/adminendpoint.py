"""A configuration's table of the admin endpoint."""

from __future__ import annotations

ADMIN = '[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
