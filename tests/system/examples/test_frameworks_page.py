"""The blocks of docs/how-to/frameworks.md, on a running server; and what the page says of statuses."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.test import override_settings

from examples.fastapi_service import STATUSES
from splinter.client import Client
from tests.support.celery_tasks import PATIENTLY, square, working

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "frameworks.md").read_text()
FASTAPI, DJANGO, CELERY, PYTEST = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

if not django_settings.configured:
    django_settings.configure()


def run(block: str, arguments: dict[str, Any], **names: Any) -> dict[str, Any]:
    """What a block defines, where its tenant is the test's."""
    address, port, tenant = arguments["address"], arguments["port"], arguments["tenant"]
    for written, meant in {
        "tenant=1,": f"tenant={tenant}, port={port},",
        '"tenant": 1,': f'"tenant": {tenant},',
        "splinter://1:": f"splinter://{tenant}:",
        "10.0.0.2:7171": f"{address}:{port}",
    }.items():
        block = block.replace(written, meant)
    names |= {"ADDRESS": address, "TOKEN": arguments["token"], "BROKER": "memory://"}
    exec(compile(block, "frameworks.md", "exec", dont_inherit=True), names)
    return names


def test_fastapi(splinter_arguments: dict[str, Any], splinter_client: Client) -> None:
    made = run(FASTAPI.replace("timeout=0.5", "timeout=20"), splinter_arguments)
    splinter_client.put("dog", b"barks", table=1)

    async def main() -> None:
        transport = httpx.ASGITransport(made["app"])
        async with made["lifespan"](made["app"]), httpx.AsyncClient(transport=transport, base_url="http://pages") as http:
            assert (await http.get("/pages/dog")).content == b"barks"
            assert (await http.get("/pages/cat")).status_code == 404

    asyncio.run(main())


def test_django(splinter_arguments: dict[str, Any], splinter_client: Client) -> None:
    made = run(DJANGO.replace('"timeout": 0.5', '"timeout": 20'), splinter_arguments)
    with override_settings(CACHES=made["CACHES"], SESSION_ENGINE=made["SESSION_ENGINE"]):
        cache.set("key", "value")
        assert cache.get("key") == "value"
    assert list(splinter_client.scan(1)) == [b":1:key"]


def test_celery(splinter_arguments: dict[str, Any], splinter_client: Client) -> None:
    app = run(CELERY, splinter_arguments)["app"]
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    app.task(square, name="square")
    with working(app, "threads"):
        assert app.signature("square", [7]).delay().get(**PATIENTLY) == 49
    assert len(list(splinter_client.scan(1))) == 1


def test_pytest(splinter_arguments: dict[str, Any], splinter_client: Client) -> None:
    made = run(PYTEST.replace("@pytest.fixture\n", ""), splinter_arguments)
    settings = SimpleNamespace()
    made["splinter_cache"](splinter_arguments, settings)
    with override_settings(CACHES=settings.CACHES):
        cache.set("key", "value")
    assert list(splinter_client.scan()) == [b":1:key"]


def test_the_statuses_are_the_example_s() -> None:
    of = {kind.__name__: status for kind, status in STATUSES} | {"ConflictError": 412}
    rows = re.findall(r"^\| (.*`\w+Error`.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    for names, statuses in rows:
        told = [of[name] for name in re.findall(r"`(\w+Error)`", names)]
        written = [int(status) for status in re.findall(r"\d{3}", statuses)]
        assert told == (written if len(written) > 1 else written * len(told)), names


@pytest.mark.parametrize("name", ["fastapi_service", "django_cache", "celery_backend"])
def test_the_page_names_each_example(name: str) -> None:
    assert f"`examples/{name}.py`" in PAGE
