"""Tests for sniproxy.configtables."""
