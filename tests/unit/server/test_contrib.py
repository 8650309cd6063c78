"""What stands in ``contrib/`` is complete, and is understood by what it is for."""

from __future__ import annotations

import configparser
import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from splinter.cli.exit_status import ExitStatus
from splinter.server.config import ServerConfig

OPTIONAL = "optional: "
CONTRIB = Path(__file__).resolve().parents[3] / "contrib"
UNITS = sorted(CONTRIB.glob("*.service"))


def test_the_annotated_configuration_has_every_setting_and_loads(tmp_path: Path) -> None:
    text = (CONTRIB / "splinter.toml").read_text()
    assert ServerConfig.load(CONTRIB / "splinter.toml") == ServerConfig()
    settings = re.findall(r"^# (\w+ = .*)$", text, re.MULTILINE)
    assert [line.split()[0] for line in settings] == [each.name for each in dataclasses.fields(ServerConfig)]
    file = tmp_path / "all.toml"
    file.write_text("\n".join(settings))
    loaded, default = ServerConfig.load(file), ServerConfig()
    examples = {
        "device",
        "address",
        "netns",
        "client_netns",
        "cores",
        "log_cores",
        "data",
        "durability",
        "metrics",
        "redis_port",
    }
    for each in dataclasses.fields(ServerConfig):
        if each.name not in examples:
            assert getattr(loaded, each.name) == getattr(default, each.name), each.name


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_understood_by_systemd(unit: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip(f"{OPTIONAL}systemd-analyze is not installed")
    file = tmp_path / unit.name
    file.write_text(unit.read_text().replace("/usr/local/bin/splinter", "/bin/true"))
    done = subprocess.run([program, "verify", file], capture_output=True, text=True, timeout=60, check=False)
    told = [line for line in done.stderr.splitlines() if unit.stem.rstrip("@") in line]
    assert (done.returncode, told) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_says_what_the_server_does(unit: Path) -> None:
    parsed = configparser.RawConfigParser(strict=True)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read_string(unit.read_text())
    service = parsed["Service"]
    assert service["Type"] == "notify" and service["MemoryDenyWriteExecute"] == "no"
    never = {int(number) for number in service["RestartPreventExitStatus"].split()}
    final = (ExitStatus.USAGE, ExitStatus.NOT_PERMITTED, ExitStatus.CONFIGURATION, ExitStatus.DATA_FOLDER)
    assert never == {status.value for status in final}
    assert "AF_NETLINK" in service["RestrictAddressFamilies"]
    is_xdp = "--transport xdp" in service["ExecStart"]
    for capability in ("CAP_KILL", "CAP_SETGID", "CAP_SETUID"):  # for the metrics process of a server that is root
        assert (capability in service["CapabilityBoundingSet"].split()) == is_xdp
    assert ("AF_XDP" in service["RestrictAddressFamilies"]) == ("CAP_BPF" in service.get("CapabilityBoundingSet", "")) == is_xdp


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_may_write_each_folder_of_the_settings(unit: Path) -> None:
    """Of the annotated configuration's examples, and of the unit's own variables: all but these is read-only to it."""
    text = unit.read_text().replace("%i", "default")
    assert "ProtectSystem=strict" in text
    tops = {"StateDirectory": "/var/lib", "CacheDirectory": "/var/cache", "RuntimeDirectory": "/run", "ReadWritePaths": ""}
    named = [(tops[name], value) for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE) if name in tops]
    written = [Path(f"{top}/{each}") for top, values in named for each in values.split()]
    settings = re.findall(r'^# data = "(/.*)"$', (CONTRIB / "splinter.toml").read_text(), re.MULTILINE)
    variables = re.findall(r"=(/\S+)", "".join(re.findall(r"^Environment=.*$", text, re.MULTILINE)))
    assert (len(settings), len(variables)) == (1, 2)
    for folder in map(Path, (*settings, *variables)):
        assert any(folder.is_relative_to(each) for each in written), folder


def test_the_dashboard_is_one_by_grafanas_own_model() -> None:
    """No registry that tests reach has Grafana itself."""
    register_default_plugins()
    text = (CONTRIB / "grafana/splinter.json").read_text()
    read = Dashboard.from_json(json.loads(text))
    assert read.title and read.panels
    assert {type(panel).__name__ for panel in read.panels} <= {"Panel", "RowPanel"}
    again = json.loads(JSONEncoder().encode(read))
    assert [panel["title"] for panel in again["panels"]] == [panel["title"] for panel in json.loads(text)["panels"]]
