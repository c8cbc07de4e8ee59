"""Tests for sniproxy.diagnostics."""
