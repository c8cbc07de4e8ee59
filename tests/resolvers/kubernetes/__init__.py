"""Tests for sniproxy.resolvers.kubernetes."""
