"""What the server tells of itself: one plain dictionary for the wire, the command line and exporters."""

from __future__ import annotations

import dataclasses
from typing import Any


def plain(value: Any) -> Any:
    """A value as what msgpack and JSON can carry: NumPy's numbers and arrays become Python's, names become text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if hasattr(value, "tolist"):  # NumPy's; what the command line takes from here does without it
        return plain(value.tolist())
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return value


def collect(server: dict[str, Any], control: dict[str, Any]) -> dict[str, Any]:
    """All counters: what the supervisor gave (workers, XDP program, store), and the control plane's own."""
    return {name: plain(item) for name, item in {**server, "control": control}.items()}


def numbers(stats: dict[str, Any], prefix: str = "") -> dict[str, int | float]:
    """Every number of nested statistics under a dotted name, for differences between two moments."""
    found: dict[str, int | float] = {}
    for name, value in stats.items():
        if isinstance(value, list):
            value = {str(index): item for index, item in enumerate(value)}
        if isinstance(value, dict):
            found.update(numbers(value, f"{prefix}{name}."))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{name}"] = value
    return found
