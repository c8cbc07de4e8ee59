"""The names of the tables in a configuration file, by their brackets. Pure."""

from __future__ import annotations

SINGLE_TABLES = (
    *("default", "no_server_name", "timeouts", "access_log", "inspect_log", "admin", "policy", "reload", "health"),
    *("limits", "log"),
)
"""Tables that appear once, in single brackets."""

LISTED_TABLES = ("listener", "bridge", "route", "fault")
"""Tables that may appear several times, in double brackets."""

MAX_ERRORS = 20
"""Errors of a file that one run reports; the next run reports the rest."""
