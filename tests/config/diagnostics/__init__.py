"""Tests for sniproxy.config.diagnostics."""
