"""Tests. Run ``trial sniproxy_numbered``."""
