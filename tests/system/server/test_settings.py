"""SIGHUP at a server that runs: its file is read again, by all of its processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.servers import serving
from tests.support.waiting import wait_for

FILE = 'durability = "interval"\nlog_level = "info"\n'


def test_a_server_takes_settings_from_its_file_again(unique_name: str, tmp_path: Path):
    path = tmp_path / "splinter.toml"
    path.write_text(FILE)
    options = ("--config", str(path), "--data", str(tmp_path / "data"), "--cores", "0")
    with serving(unique_name, None, *options) as server:
        admin = server.admin()

        def hang_up(text: str, told: str) -> None:
            path.write_text(text)
            os.kill(server.info.pid, signal.SIGHUP)
            wait_for(lambda: told in server.started.said(), what=told)

        assert admin.create_tenant().durability == "interval"
        hang_up("durability = \n", "no setting was changed")
        assert "line 1" in server.started.said()
        hang_up(FILE.replace("interval", "always") + "cores = [1]\n", 'durability = "always"')
        assert "from the next start on" not in server.started.said()  # the option wins
        wait_for(lambda: admin.create_tenant().durability == "always", what="the control process")
        hang_up(FILE.replace("info", "error") + "watchdog_ms = 99\ntask_budget = 500\n", "task_budget = 500")
        before = admin.stats()["watchdog"]["limit_ms"]
        assert before == 2000  # an option of the tests' servers
        (control,) = server.children("splinter-ctl")
        os.kill(control, signal.SIGKILL)  # its successor has the new settings
        wait_for(lambda: server.children("splinter-ctl") not in ([], [control]))
        assert server.admin().stats()["durability"]["mode"] == "interval"
        said = server.started.said()
        admin = server.admin()
        admin.create_tenant()
        assert " INFO tenant" not in server.started.said().removeprefix(said)
        hang_up(FILE, 'log_level = "info"')
