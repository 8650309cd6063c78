"""A real Prometheus loads our configuration and rules, scrapes a server, and evaluates what rules and dashboard ask.

Grafana is in no registry that tests reach: the dashboard is read by Grafana's own data model
(``tests/unit/server/test_contrib.py``), and each of its expressions is asked of Prometheus here.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from splinter.testing.process import free_port
from tests.support.dashboards import expressions
from tests.support.scrape import fetch
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import WAIT_SECONDS, wait_for

CONTRIB = Path(__file__).resolve().parents[3] / "contrib"
RULES = 14
pytestmark = pytest.mark.prometheus


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    data = tmp_path_factory.mktemp("data") / "data"
    options = ("--metrics", "127.0.0.1:0", "--cores", "0", "--data", str(data))
    with running_server(f"t{os.getpid()}x32udp", "udp", *options) as running:
        client = running.client(running.admin().create_tenant())
        client.put(b"key", b"value")
        client.get(b"key")
        yield running


class Prometheus:
    """The real one, asked by its API."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1/"

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer; None while there is none."""
        url = self._base + path + ("?" + urllib.parse.urlencode(query) if query else "")
        try:
            with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE:  # it starts
                return None
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        except OSError:
            return None
        assert told["status"] == "success", told
        return told["data"]


@pytest.fixture(scope="module")
def prometheus(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Our files, scraping this server, each second."""
    folder = tmp_path_factory.mktemp("prometheus")
    text = (CONTRIB / "prometheus/prometheus.yml").read_text()
    assert server.info.metrics is not None
    target = urllib.parse.urlparse(server.info.metrics).netloc
    changed = text.replace("127.0.0.1:9464", target).replace(
        "scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s"
    )
    assert target in changed.partition("targets")[2] and "evaluation_interval" in changed
    (folder / "prometheus.yml").write_text(changed)
    (folder / "alerts.yml").write_text((CONTRIB / "prometheus/alerts.yml").read_text())
    port, log = free_port(), (folder / "log").open("wb")
    words = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/store",
             f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            yield Prometheus(port)
        finally:
            process.kill()
    if process.returncode != -signal.SIGKILL:
        raise AssertionError((folder / "log").read_text())


def rules(prometheus: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in (prometheus.ask("rules") or {"groups": []})["groups"] for rule in group["rules"]]


def test_our_files_are_valid() -> None:
    for words in (["config", "prometheus.yml"], ["rules", "alerts.yml"]):
        done = subprocess.run(
            ["promtool", "check", *words], cwd=CONTRIB / "prometheus", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert f"{RULES} rules found" in done.stdout


def test_what_the_endpoint_tells_is_as_prometheus_wants_it(server: RunningServer) -> None:
    assert server.info.metrics is not None
    text = fetch(server.info.metrics, "text/plain")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_scrapes_the_server(prometheus: Prometheus) -> None:
    def target() -> dict[str, Any] | None:
        (found,) = (prometheus.ask("targets") or {"activeTargets": [{}]})["activeTargets"] or [{}]
        return found if found.get("health") == "up" else None

    found = wait_for(target, what="a scrape")
    assert found is not None and found["lastError"] == ""

    def gets() -> Any:
        return (prometheus.ask("query", query='splinter_requests_total{kind="get"}') or {"result": None})["result"]

    (told,) = wait_for(gets, what="a sample")
    assert int(told["value"][1]) >= 1 and told["metric"]["core"] == "0"


def test_the_rules_are_loaded_and_evaluated(prometheus: Prometheus) -> None:
    def are_judged() -> bool:
        found = rules(prometheus)
        return len(found) == RULES and all(rule["health"] == "ok" for rule in found)

    wait_for(are_judged, what="every rule's evaluation")
    assert not [rule["lastError"] for rule in rules(prometheus) if rule.get("lastError")]
    firing = [rule["name"] for rule in rules(prometheus) if rule["state"] == "firing"]
    assert firing == []  # a server that is well


@pytest.mark.parametrize("expression", expressions(CONTRIB / "grafana/splinter.json"))
def test_every_expression_of_the_dashboard_can_be_asked(prometheus: Prometheus, expression: str) -> None:
    query = expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
    assert "$" not in query
    assert wait_for(lambda: prometheus.ask("query", query=query), what="an answer") is not None


# Series that change so, and the labels of the alert that must fire then: (alert, series, labels).
FIRING = [
    ("SplinterDown", {'up{job="splinter", instance="a"}': "0x10"}, {"instance": "a"}),
    ("SplinterTellsNothing", {'splinter_up{instance="a"}': "0x10"}, {"instance": "a"}),
    ("SplinterDeviceLost", {'splinter_device_served{instance="a"}': "1x3 0x7"}, {"instance": "a"}),
    ("SplinterWorkerReplaced", {'splinter_watchdog_events_total{instance="a", event="stuck"}': "0x5 1x5"}, {"event": "stuck"}),
    ("SplinterWorkerSaturated", {'splinter_worker_busy_seconds_total{core="0"}': "0+60x20"}, {"core": "0"}),
    (
        "SplinterSlow",
        {
            'splinter_request_duration_seconds_bucket{kind="get", le="0.004"}': "0+50x10",
            'splinter_request_duration_seconds_bucket{kind="get", le="0.008"}': "0+100x10",
            'splinter_request_duration_seconds_bucket{kind="get", le="+Inf"}': "0+100x10",
        },
        {"kind": "get"},
    ),
    (
        "SplinterPacketsLost",
        {'splinter_dropped_packets_total{place="socket", reason="ring_full"}': "0+600x10"},
        {"place": "socket"},
    ),
    ("SplinterStrangers", {'splinter_dropped_packets_total{place="driver", reason="wrong_token"}': "0+6000x10"}, {}),
    ("SplinterTenantOverRate", {'splinter_tenant_rate_limited_packets_total{tenant="7"}': "0+600x20"}, {"tenant": "7"}),
    (
        "SplinterExtensionFails",
        {
            'splinter_extension_errors_total{tenant="7", extension="f"}': "0+20x10",
            'splinter_extension_invocations_total{tenant="7", extension="f"}': "0+100x10",
        },
        {"extension": "f"},
    ),
    (
        "SplinterMemoryShort",
        {'splinter_memory_bytes{use="slabs"}': "95x10", 'splinter_memory_bytes{use="store"}': "100x10"},
        {},
    ),
    (
        "SplinterTenantFull",
        {'splinter_tenant_memory_bytes{tenant="7"}': "96x10", 'splinter_tenant_quota_bytes{tenant="7"}': "100x10"},
        {"tenant": "7"},
    ),
    ("SplinterDiskRefuses", {"splinter_durability_refusing": "1x10"}, {}),
    ("SplinterDiskBehind", {"splinter_durability_entries_behind": "5x10", "splinter_durability_sync_age_seconds": "11x10"}, {}),
]  # fmt: skip


def judged(tmp_path: Path, series: dict[str, str], minute: int) -> str:
    """What `promtool test rules` says of series, when no alert is expected: the alerts that there are."""
    names = re.findall(r"alert: (\w+)", (CONTRIB / "prometheus/alerts.yml").read_text())
    document = {
        "rule_files": [str(CONTRIB / "prometheus/alerts.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": name, "exp_alerts": []} for name in names],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(document))  # JSON is YAML
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "test.yml")], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(("alert", "series", "labels"), FIRING, ids=[alert for alert, *_ in FIRING])
def test_an_alert_fires_when_it_should(tmp_path: Path, alert: str, series: dict[str, str], labels: dict[str, str]) -> None:
    minute = 18 if "x20" in "".join(series.values()) else 9
    told = judged(tmp_path, series, minute)
    assert set(re.findall(r"alertname: ?\"?(\w+)", told)) == {alert}, told
    assert all(f'{name}="{value}"' in told for name, value in labels.items()), told


def test_every_alert_has_such_a_test() -> None:
    names = re.findall(r"alert: (\w+)", (CONTRIB / "prometheus/alerts.yml").read_text())
    assert [alert for alert, *_ in FIRING] == names and len(names) == RULES


def test_a_server_that_is_well_has_no_alert(tmp_path: Path) -> None:
    series = {
        'up{job="splinter"}': "1x10", "splinter_up": "1x10", "splinter_device_served": "1x10",
        'splinter_worker_busy_seconds_total{core="0"}': "0+30x10",
        'splinter_memory_bytes{use="slabs"}': "50x10", 'splinter_memory_bytes{use="store"}': "100x10",
        "splinter_durability_refusing": "0x10", "splinter_durability_entries_behind": "5x10",
        "splinter_durability_sync_age_seconds": "0.2x10", 'splinter_watchdog_events_total{event="stuck"}': "3x10",
    }  # fmt: skip
    assert "SUCCESS" in judged(tmp_path, series, 9)
