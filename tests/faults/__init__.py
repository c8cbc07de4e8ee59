"""Tests for sniproxy.faults."""
