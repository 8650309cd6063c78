"""The guide to the Redis protocol: its blocks are run, by redis-py and by redis-cli."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.servers import running_server

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "redis.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
URL = "redis://7:0123456789abcdef@127.0.0.1:6379/0"


def test_the_guide() -> None:
    pytest.importorskip("redis", reason="the extra dev has redis-py")
    text = PAGE.read_text()
    (_, commands), *programs = BLOCK.findall(text)
    serve, create = commands.splitlines()
    assert create.split("#")[0].split() == ["splinter", "tenant", "create"]
    options = shlex.split(serve)[2:]
    options[options.index("6379")] = "0"
    with running_server(f"t{os.getpid()}xrg", "udp", *options) as server:
        tenant = server.admin().create_tenant()
        url = f"redis://{tenant.tenant}:{tenant.token:016x}@127.0.0.1:{server.info.redis_port}/0"
        names: dict[str, object] = {}
        for _, program in programs:  # one goes on where the one before has ended
            exec(compile(program.replace(URL, url), str(PAGE), "exec"), names)
        assert URL in programs[0][1] and URL in text.replace(programs[0][1], "")
        client = server.client(tenant)
        assert client.get(b"greeting") == b"hello"
        left = client.ttl(b"greeting")
        assert left is not None and 0 < left <= 60
        if shutil.which("redis-cli") is not None:
            told = subprocess.run(
                ["redis-cli", "--no-auth-warning", "-u", url, "GET", "greeting"], capture_output=True, text=True, check=True
            )
            assert told.stdout == "hello\n"
