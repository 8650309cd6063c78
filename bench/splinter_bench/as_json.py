"""JSON documents that are kept: a row a line, so that they stay small and a difference shows the rows that changed."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any


def as_json(value: Any, depth: int = 0) -> str:
    """The text of plain values: a list's items are a line each, an object's members too where one of them is no scalar."""
    if isinstance(value, dict):
        inside = [f"{json.dumps(name)}: {as_json(member, depth + 1)}" for name, member in value.items()]
        members: Collection[Any] = value.values()
        first, last = "{}"
    elif isinstance(value, list | tuple):
        inside, members = [json.dumps(item) for item in value], value
        first, last = "[]"
    else:
        return json.dumps(value)
    if not any(isinstance(member, dict | list | tuple) for member in members):
        return json.dumps(value)
    gap = "\n" + " " * (depth + 1)
    return f"{first}{gap}{(',' + gap).join(inside)}\n{' ' * depth}{last}"
