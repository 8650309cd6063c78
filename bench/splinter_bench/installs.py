"""Installs while others are served, and ten thousand tenants with an extension each: who notices, and what it takes."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from splinter_bench.figure import Figure, medians
from splinter_bench.invokes import invoke_get
from splinter_bench.process import children, pinned
from splinter_bench.result import Result
from splinter_bench.rounds import in_turns
from splinter_bench.session import SLICE_SECONDS, SLICE_WARMUP_SECONDS, Session
from splinter_bench.sources import numbered, source
from splinter_bench.workload import Account, get_operation, put_operation, uniform

DEPTHS = (1, 16)
_INSTALLS_EACH = 2  # in a round
_QUIET_SLICES = 2  # before each install: about as many as while it goes on
_OWN_CPU_SHARE_MIN = 0.98  # of a slice's time: where the load generator had less, it was held up itself
_NUMBERS_FROM = 1_000_000  # above those of the other benchmark here
_SLICES_MAX = 3000  # of gets while installs go on


@dataclass(frozen=True)
class Counts:
    """``installs`` are made in all, two in each round; ``tenants`` have an extension each."""

    installs: int = 1000
    tenants: int = 10_000
    lookups: int = 200  # slices of invokes before and after, beside slices of gets
    keys: int = 10_000
    seconds: float = SLICE_SECONDS  # of a slice of look-ups
    gets_seconds: float = 0.01  # of a slice of gets beside installs: some fall between two turns of the compiler


_DEFAULTS = Counts()


def measure_interference(session: Session, counts: Counts = _DEFAULTS) -> list[Figure]:
    """``install-interference``, at each of DEPTHS: p99 of one tenant's gets while another one installs, over without.

    A round is two installs, and the gets right before each: the machine's speed changes within a second, by more than the bound
    has room for. The compiler shares the load generator's CPU where there are but two, and holds it up for milliseconds: that
    is the generator's trouble, not the worker's. Slices in which the generator did not have its CPU for itself are left out, of
    both kinds: who spins has used all the time that has passed.
    """
    account = session.tenant()
    installer = session.client(session.tenant())
    with pinned(session.client_core):
        session.load.preload(put_operation(account), counts.keys)
    gets = uniform(get_operation(account), counts.keys)
    control, figures = Control(), []
    rounds = -(-counts.installs // (len(DEPTHS) * _INSTALLS_EACH))
    sources = numbered(source("common_ancestor"), 0, rounds * len(DEPTHS) * _INSTALLS_EACH)

    def take(depth: int) -> Taken[Result]:
        return control.once(lambda: session.slice(gets, depth, counts.gets_seconds))

    for depth in DEPTHS:
        quiet, busy, others, seconds = [], [], [], []
        for _ in range(rounds):
            alone, during = [], []
            for text in itertools.islice(sources, _INSTALLS_EACH):
                alone += [take(depth) for _ in range(_QUIET_SLICES)]
                slices, took = _while_installing(installer, text, partial(take, depth))
                during += slices
                seconds.append(took)
            still = [[each.result for each in slices if _is_undisturbed(each)] for slices in (alone, during)]
            if all(still):
                quiet.append(Result.merged(still[0]))
                busy.append(Result.merged(still[1]))
            else:
                others.append(tuple(Result.merged([each.result for each in slices]) for slices in (alone, during)))
        if not quiet:
            quiet, busy = ([pair[which] for pair in others] for which in (0, 1))
        p99 = [(a.latency_ns["p99"], b.latency_ns["p99"]) for a, b in zip(quiet, busy, strict=True)]
        figures.append(
            Figure(
                f"install-interference-{depth}",
                f"p99 of another tenant's gets during installs over without, depth {depth}",
                "×",
                tuple(b / a for a, b in p99),
                medians(
                    quiet_p99_ns=[a for a, _ in p99],
                    busy_p99_ns=[b for _, b in p99],
                    quiet_p999_ns=[r.latency_ns["p99.9"] for r in quiet],
                    busy_p999_ns=[r.latency_ns["p99.9"] for r in busy],
                    quiet_gets_per_second=[r.per_second for r in quiet],
                    busy_gets_per_second=[r.per_second for r in busy],
                    install_seconds=seconds,
                ),
                left_out=len(others),
            )
        )
    return figures


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


def measure_many(session: Session, counts: Counts = _DEFAULTS) -> list[Figure]:
    """``tenant-memory``, ``extension-memory`` and ``lookup``, with as many tenants as ``counts`` says.

    The tenants stay: removing each would take longer than all the rest, and the server was made for this.
    """
    account = session.tenant()
    session.client(account).install(entry("get").sources["get"])
    with pinned(session.client_core):
        session.load.preload(put_operation(account), counts.keys)
    before, missed_before = _lookups(session, account, counts)
    empty = _server_bytes(session)
    tenants = session.admin.create_tenants(counts.tenants, home=session.home)
    idle = _server_bytes(session)
    code_bytes = _install_everywhere(session, tenants)
    full = _server_bytes(session)
    after, missed_after = _lookups(session, account, counts)
    return [
        Figure(
            "tenant-memory",
            f"resident memory of an idle tenant, of {counts.tenants:,}",
            "bytes",
            ((idle - empty) / counts.tenants,),
            is_counted=True,
        ),
        Figure(
            "extension-memory",
            f"memory of an installed extension beyond its code, one for each of {counts.tenants:,} tenants",
            "bytes",
            ((full - idle) / counts.tenants,),
            {"code_bytes": round(code_bytes / counts.tenants, 1)},
            is_counted=True,
        ),
        Figure(
            "lookup",
            f"median of an invoke (over a get's beside it) with {counts.tenants + 1:,} extensions installed over with 1",
            "×",
            tuple(b / a for a, b in zip(before, after, strict=False)),
            medians(before=before, after=after),
            left_out=max(missed_before, missed_after),
        ),
    ]


def _install_everywhere(session: Session, tenants: list[TenantInfo]) -> int:
    """An extension of its own for each tenant; returns bytes of machine code in all."""
    code_bytes = 0
    with contextlib.closing(ControlConnection(session.info.address, session.info.port, netns=session.netns)) as control:
        for tenant, text in zip(tenants, numbered(source("common_ancestor"), _NUMBERS_FROM, len(tenants)), strict=True):
            who = {"tenant": tenant.tenant, "token": tenant.token}
            code_bytes += control.request("extension.install", source=text, **who)["extensions"][0]["code_bytes"]
    return code_bytes


def _lookups(session: Session, account: Account, counts: Counts) -> tuple[list[float], int]:
    """Medians of an invoke over those of a get, at depth 1, and how many rounds were left out."""
    compiled = compile_source(entry("get").sources["get"])
    get = uniform(get_operation(account), counts.keys)
    invoke = uniform(invoke_get(account, compiled), counts.keys)
    slices = {name: partial(session.slice, asked, 1, counts.seconds) for name, asked in (("get", get), ("invoke", invoke))}
    found = in_turns(slices, counts.lookups)
    ratios = found.each(lambda taken: taken["invoke"].latency_ns["p50"] / taken["get"].latency_ns["p50"])
    return list(ratios), found.left_out


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
