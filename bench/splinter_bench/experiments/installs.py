"""Installs while others are served, and ten thousand tenants with an extension each: who notices, and what it takes."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from splinter.client import Client
from splinter.client.admin import TenantInfo
from splinter.client.control import ControlConnection
from splinter.errors import SplinterError
from splinter.ext.compile import compile_source
from splinter.ext.library import entry
from splinter.limits import SLAB_BYTES
from splinter.native.clock import SECOND_NS
from splinter_bench.control import Control, Taken
from splinter_bench.experiments.bench import Bench, slices
from splinter_bench.observations import Observations
from splinter_bench.process import children, pinned
from splinter_bench.result import Result
from splinter_bench.rounds import in_turns
from splinter_bench.subjects.invokes import invoke_get
from splinter_bench.subjects.session import SLICE_SECONDS, SLICE_WARMUP_SECONDS, Session
from splinter_bench.workloads.sources import numbered, source
from splinter_bench.workloads.workload import Account, get_operation, put_operation, uniform

DEPTHS = (1, 16)
_INSTALLS_EACH = 2  # in a round
_QUIET_SLICES = 2  # before each install: about as many as while it goes on
_OWN_CPU_SHARE_MIN = 0.98  # of a slice's time: where the load generator had less, it was held up itself
_NUMBERS_FROM = 1_000_000  # above those of the other benchmark here
_SLICES_MAX = 3000  # of gets while installs go on


_LOOKUPS = 200  # slices of invokes before and after, beside slices of gets
_KEYS = 10_000
_GETS_SECONDS = 0.01  # of a slice of gets beside installs: some fall between two turns of the compiler


def measure_interference(bench: Bench) -> Observations:
    """Of ``install-interference``, at each of DEPTHS: p99 of one tenant's gets while another one installs, over without.

    A round is two installs, and the gets right before each: the machine's speed changes within a second, by more than the bound
    has room for. The compiler shares the load generator's CPU where there are but two, and holds it up for milliseconds: that
    is the generator's trouble, not the worker's. Slices in which the generator did not have its CPU for itself are left out, of
    both kinds: who spins has used all the time that has passed.
    """
    session = bench.session
    account = session.tenant()
    installer = session.client(session.tenant())
    with pinned(session.client_core):
        session.load.preload(put_operation(account), _KEYS)
    gets = uniform(get_operation(account), _KEYS)
    control, found = Control(), Observations()
    rounds = -(-bench.installs // (len(DEPTHS) * _INSTALLS_EACH))
    sources = numbered(source("common_ancestor"), 0, rounds * len(DEPTHS) * _INSTALLS_EACH)

    def take(depth: int) -> Taken[Result]:
        return control.once(lambda: session.slice(gets, depth, _GETS_SECONDS))

    for depth in DEPTHS:
        for number in range(rounds):
            taken: dict[str, list[Taken[Result]]] = {"quiet": [], "busy": []}
            seconds = []
            for text in itertools.islice(sources, _INSTALLS_EACH):
                taken["quiet"] += [take(depth) for _ in range(_QUIET_SLICES)]
                slices, took = _while_installing(installer, text, partial(take, depth))
                taken["busy"] += slices
                seconds.append(took)
            still = {name: [each.result for each in slices if _is_undisturbed(each)] for name, slices in taken.items()}
            for name, slices in taken.items():
                kept = still[name] if all(still.values()) else [each.result for each in slices]
                found.add(f"{name} {depth}", Result.merged(kept), number, is_still=all(still.values()))
            found.add(f"install {depth}", {"seconds": statistics.median(seconds)}, number)
    return found


def _is_undisturbed(taken: Taken[Result]) -> bool:
    """Whether a slice had peace, and the load generator, which spins, a CPU for itself."""
    seconds = taken.result.seconds + SLICE_WARMUP_SECONDS
    return taken.is_still and taken.result.client_cpu_ns >= _OWN_CPU_SHARE_MIN * seconds * SECOND_NS


def _while_installing(installer: Client, text: str, take: Callable[[], Taken[Result]]) -> tuple[list[Taken[Result]], float]:
    """The slices until the install is through, that in which it ends included, and the seconds that it took."""
    failed: list[BaseException] = []
    ends = [time.monotonic()]

    def install() -> None:
        try:
            installer.install(text)
            ends.append(time.monotonic())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=install, name="installer", daemon=True)
    thread.start()
    parts = [take()]
    while thread.is_alive() and len(parts) < _SLICES_MAX:
        parts.append(take())
    thread.join()
    if failed:
        raise SplinterError(f"an install failed: {failed[0]}") from failed[0]
    return parts, ends[1] - ends[0]


def measure_many(bench: Bench) -> Observations:
    """Of ``tenant-memory``, ``extension-memory`` and ``lookup``, with as many tenants as were asked for.

    The tenants stay: removing each would take longer than all the rest, and the server was made for this.
    """
    session = bench.session
    account = session.tenant()
    session.client(account).install(entry("get").sources["get"])
    with pinned(session.client_core):
        session.load.preload(put_operation(account), _KEYS)
    before = _lookups(bench, account, "before")
    empty = _server_bytes(session)
    tenants = session.admin.create_tenants(bench.tenants, home=session.home)
    idle = _server_bytes(session)
    code_bytes = _install_everywhere(session, tenants)
    full = _server_bytes(session)
    found = before.merged(_lookups(bench, account, "after"))
    found.settings |= {"tenants": bench.tenants, "extensions": bench.tenants + 1}
    found.add("tenant", {"bytes": (idle - empty) / bench.tenants}, 0)
    found.add("extension", {"bytes": (full - idle) / bench.tenants, "code_bytes": code_bytes / bench.tenants}, 0)
    return found


def _install_everywhere(session: Session, tenants: list[TenantInfo]) -> int:
    """An extension of its own for each tenant; returns bytes of machine code in all."""
    code_bytes = 0
    with contextlib.closing(ControlConnection(session.info.address, session.info.port, netns=session.netns)) as control:
        for tenant, text in zip(tenants, numbered(source("common_ancestor"), _NUMBERS_FROM, len(tenants)), strict=True):
            who = {"tenant": tenant.tenant, "token": tenant.token}
            code_bytes += control.request("extension.install", source=text, **who)["extensions"][0]["code_bytes"]
    return code_bytes


def _lookups(bench: Bench, account: Account, when: str) -> Observations:
    """Invokes beside gets, at depth 1."""
    compiled = compile_source(entry("get").sources["get"])
    operations = {"get": get_operation(account), "invoke": invoke_get(account, compiled)}
    asked = {f"{name} {when}": uniform(operation, _KEYS) for name, operation in operations.items()}
    return in_turns(slices(bench.session, asked, 1, SLICE_SECONDS), bench.count(_LOOKUPS))


def _server_bytes(session: Session) -> int:
    """Memory of the server's processes, each shared page once, and the store's slabs in use.

    The slabs are a BPF map: all of it is there from the start, so that using it makes no process grow.
    """
    pids = [session.info.pid, *children(session.info.pid)]
    usage = session.admin.stats()["store"]
    return sum(_pss_bytes(pid) for pid in pids) + int(usage["slabs_used"]) * SLAB_BYTES


def _pss_bytes(pid: int) -> int:
    """Proportional set size: resident memory, pages that several processes map shared among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise SplinterError(f"process {pid} does not tell its memory")
