"""What stands in a dashboard of Grafana's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def panels(file: Path) -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in json.loads(file.read_text())["panels"] if panel["type"] != "row"]


def expressions(file: Path) -> list[str]:
    """What its panels ask Prometheus for."""
    return [target["expr"] for panel in panels(file) for target in panel["targets"]]
