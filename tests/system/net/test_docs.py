"""The examples of docs/reference/afxdp.md run, and do what the text says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from splinter.net import netns
from splinter.net.afxdp import Umem, XskSocket
from splinter.net.lab import SERVER_DEVICE, Lab

pytestmark = pytest.mark.xdp

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "afxdp.md").read_text()
SERVER, LOOP = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_echo_server_echoes(capsys: pytest.CaptureFixture[str], unique_name: str) -> None:
    exec(SERVER.replace('"example"', repr(unique_name)), {})
    printed = capsys.readouterr().out
    assert "attached: native" in printed
    assert "echoed: b'hello'" in printed


def test_compiled_loop_compiles_and_runs_on_an_idle_socket(lab: Lab) -> None:
    names: dict[str, object] = {}
    exec(LOOP.replace("@njit(cache=True)", "@njit"), names)  # text from a document has no file to cache beside
    with netns.inside(lab.server.namespace), XskSocket(Umem(4), SERVER_DEVICE, 0) as socket:
        assert names["echo_once"](socket.record) == 0  # type: ignore[operator]
