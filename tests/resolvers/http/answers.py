"""Answers of registries, as the http resolver reads them."""

from __future__ import annotations

from typing import Any

CONSUL: list[dict[str, Any]] = [
    {
        "Node": {"Address": "10.1.10.1"},
        "Service": {"Address": "", "Port": 6651, "Weights": {"Passing": 10, "Warning": 1}},
    },
    {"Node": {"Address": "10.1.10.2"}, "Service": {"Address": "10.1.20.2", "Port": 6661}},
]


SLICES: dict[str, Any] = {
    "items": [
        {
            "endpoints": [
                {"addresses": ["10.1.2.3", "10.1.2.9"], "conditions": {"ready": True}, "hostname": "broker-0"},
                {"addresses": ["10.1.2.4"], "conditions": {"ready": False}, "hostname": "broker-1"},
            ]
        },
        {"endpoints": None},
        {"endpoints": [{"addresses": ["10.1.2.5"], "conditions": {"ready": True}, "hostname": "broker-2"}]},
    ]
}
