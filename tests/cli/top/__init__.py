"""Tests for sniproxy.cli.top."""
