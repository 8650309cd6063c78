"""The extension library on a running server: the same checks as in-process, and workers that are killed under load."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splinter.cli.main import app
from splinter.client.admin import TenantInfo
from splinter.errors import ExtensionRuntimeError
from splinter.ext import library
from tests.support import library as checks
from tests.support.commands import CliRunner
from tests.support.library import MONEY, ServerSide, associations, read_list
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

THREADS = 4
KILLS = 5
ACCOUNTS, BALANCE = 6, 1000
SECONDS_MAX = 60


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server(f"t{os.getpid()}xlibrary", "udp") as running:
        yield running


@pytest.fixture
def tenant(server: RunningServer) -> TenantInfo:
    return server.admin().create_tenant()


@pytest.fixture
def side(server: RunningServer, tenant: TenantInfo) -> ServerSide:
    return ServerSide(server.client(tenant, timeout=10))


def test_small_entries(side: ServerSide) -> None:
    for check in (
        checks.check_get_and_put, checks.check_aggregate, checks.check_scan, checks.check_long, checks.check_err,
        checks.check_digests, checks.check_objects, checks.check_associations, checks.check_transfer,
    ):  # fmt: skip
        check(side)


def test_digest_of_the_largest_value(side: ServerSide) -> None:
    value = random.Random(1).randbytes(65536)
    side.put(b"large", value, 4)
    assert side.invoke("md5", 4, b"large") == hashlib.md5(value).digest()
    assert side.invoke("sha256", 4, b"large") == hashlib.sha256(value).digest()


@pytest.mark.parametrize("table", ["digits", "breast_cancer"])
def test_trees_on_every_row(side: ServerSide, table: str) -> None:
    checks.check_trees(side, table, 1)


def test_long_list(side: ServerSide) -> None:
    checks.check_long_list(side, 1500, seed=4, id1=1)


def test_list_of_thousands(side: ServerSide) -> None:
    """As many as TAO keeps of a list by default, newest last to arrive; then one page of it goes."""
    for id2 in range(1, 6001):
        assert side.invoke("assoc_add", 5, 5, id2, id2, b"")
    assert side.invoke("assoc_count", 5, 5) == 6000
    assert [id2 for id2, _, _ in read_list(side, 5, 5)] == list(range(6000, 0, -1))
    found = associations(side.invoke("assoc_time_range", 5, 5, 3000, 2990, 100))
    assert [id2 for id2, _, _ in found] == list(range(3000, 2989, -1))
    for id2 in range(2900, 3100):
        assert side.invoke("assoc_delete", 5, 5, id2)
    assert side.invoke("assoc_count", 5, 5) == 5800


def test_bad_costs_nobody_else(server: RunningServer, tenant: TenantInfo, side: ServerSide) -> None:
    neighbour = server.client(server.admin().create_tenant(home=tenant.home), timeout=10)
    neighbour.put(b"dog", b"a canine")
    ended: list[BaseException] = []

    def run() -> None:
        try:
            side.invoke("bad")
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    for _ in range(100):
        assert neighbour.get(b"dog") == b"a canine"
    thread.join(SECONDS_MAX)
    assert [type(error) for error in ended] == [ExtensionRuntimeError]


def while_workers_die(server: RunningServer, body: Callable[[int, Callable[[], bool]], None]) -> None:
    """Run ``body(number, is_over)`` in threads while workers are killed, and until each has gone on after the last kill."""
    over = threading.Event()
    progress = [0] * THREADS
    failures: list[BaseException] = []

    def run(number: int) -> None:
        def is_over() -> bool:
            progress[number] += 1
            return over.is_set()

        try:
            body(number, is_over)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            before = list(progress)
            wait_for(
                lambda before=before: failures or all(now > then + 3 for now, then in zip(progress, before, strict=True)),
                SECONDS_MAX, "work between kills",
            )  # fmt: skip
            for pid in server.worker_pids():
                with contextlib.suppress(ProcessLookupError):  # one that the watchdog has just replaced
                    os.kill(pid, signal.SIGKILL)
            wait_for(lambda: len(server.workers()) == len(server.info.cores), SECONDS_MAX, "the workers' successors")
    finally:
        over.set()
        for thread in threads:
            thread.join(SECONDS_MAX)
    assert not failures, failures


def test_money_is_conserved_while_workers_die(server: RunningServer, side: ServerSide) -> None:
    """At every moment, and each transfer that says so was made, once."""
    for account in range(ACCOUNTS):
        assert side.invoke("account_open", account, BALANCE)
    side.client.install(MONEY)
    done: list[list[tuple[int, int, int]]] = [[] for _ in range(THREADS)]

    def body(number: int, is_over: Callable[[], bool]) -> None:
        generator = random.Random(number)
        while not is_over():
            sender, receiver = generator.sample(range(ACCOUNTS), 2)
            amount = generator.randrange(300)
            if side.invoke("transfer", sender, receiver, amount):
                done[number].append((sender, receiver, amount))
            assert side.invoke("money", ACCOUNTS) == ACCOUNTS * BALANCE

    while_workers_die(server, body)
    expected = [BALANCE] * ACCOUNTS
    for sender, receiver, amount in (each for of_thread in done for each in of_thread):
        expected[sender] -= amount
        expected[receiver] += amount
    assert [side.invoke("account_balance", account) for account in range(ACCOUNTS)] == expected
    assert all(done)


def test_lists_stay_whole_while_workers_die(side: ServerSide, server: RunningServer) -> None:
    contents: list[dict[int, int]] = [{} for _ in range(THREADS)]

    def body(number: int, is_over: Callable[[], bool]) -> None:
        generator = random.Random(number)
        mine = contents[number]
        while not is_over():
            id2 = number + THREADS * generator.randrange(100)
            if generator.random() < 0.7:
                time = generator.randrange(1000)
                assert side.invoke("assoc_add", 7, 7, id2, time, b"data of the association") == (id2 not in mine)
                mine[id2] = time
            else:
                assert side.invoke("assoc_delete", 7, 7, id2) == (id2 in mine)
                mine.pop(id2, None)

    while_workers_die(server, body)
    found = read_list(side, 7, 7)
    assert side.invoke("assoc_count", 7, 7) == len(found)
    assert {id2: time for id2, time, _ in found} == {id2: time for mine in contents for id2, time in mine.items()}
    assert [time for _, time, _ in found] == sorted((time for _, time, _ in found), reverse=True)


def test_ids_are_given_once_while_workers_die(side: ServerSide, server: RunningServer) -> None:
    ids: list[list[int]] = [[] for _ in range(THREADS)]

    def body(number: int, is_over: Callable[[], bool]) -> None:
        while not is_over():
            ids[number].append(side.invoke("obj_add", number, b"x"))

    while_workers_die(server, body)
    given = sorted(each for of_thread in ids for each in of_thread)
    assert given == list(range(1, len(given) + 1))


def test_a_failed_transfer_takes_nothing(side: ServerSide) -> None:
    assert side.invoke("account_open", 1, 5)
    with pytest.raises(ExtensionRuntimeError):
        side.invoke("transfer", 1, 2, 5)
    assert side.invoke("account_balance", 1) == 5


def test_install_by_name(server: RunningServer, tenant: TenantInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All extensions of an entry; a file of that name wins."""
    monkeypatch.chdir(tmp_path)
    client = server.client(tenant)

    def install(*arguments: str) -> Any:
        return CliRunner().invoke(
            app, ["install", *arguments, "--tenant", str(tenant.tenant), "--instance", server.info.instance]
        )

    assert install("tao").output.count("installed ") == 10
    assert {info.name for info in client.extensions()} == set(library.entry("tao").sources)
    assert client.invoke("obj_add", 1, b"x") == 1
    assert install("tree", "--name", "classify").exit_code == 0
    assert "classify" in {info.name for info in client.extensions()}
    assert install("transfer", "--name", "account_open").output.startswith("installed account_open(")
    assert "transfer" not in {info.name for info in client.extensions()}
    refused = install("tao", "--name", "other")
    assert refused.exit_code == 1 and "several extensions" in refused.stderr
    refused = install("nothing")
    assert refused.exit_code == 1 and "splinter library" in refused.stderr
    (tmp_path / "md5").write_text(library.entry("err").sources["err"])
    assert install("md5").output.startswith("installed err(")
    (tmp_path / "mine.py").write_text(library.text("transfer"))
    assert install("mine.py").output.count("installed ") == 3
    (tmp_path / "broken.py").write_text("def (")
    assert "not Python" in install("broken.py").stderr


def test_examples_of_the_documentation(side: ServerSide) -> None:
    page = (Path(__file__).parents[3] / "docs/reference/library.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 9
    for example in examples:
        exec(compile(example, "docs/reference/library.md", "exec"), {"db": side.client})
    for name in library.NAMES:
        assert re.search(rf"^## .*\b{name}\b", page, re.MULTILINE), name
    words = " ".join(page.split())
    for name in checks.SOURCES:
        assert f"`{side.client.signature(name)}`" in words, name
