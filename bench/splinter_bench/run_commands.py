"""``splinter bench run`` and ``splinter bench replay``."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splinter.errors import SplinterError
from splinter.limits import KEY_BYTES_MAX, MULTIGET_KEYS_MAX, PORT_DEFAULT, TENANTS_MAX, VALUE_BYTES_MAX
from splinter.server import instance as instances
from splinter_bench.generators.load import DEPTH_MAX
from splinter_bench.options import ClientCore, Instance, Json, Lab, ServerCore, circumstances, output
from splinter_bench.progress import live_progress
from splinter_bench.report.terminal import show
from splinter_bench.table import Table
from splinter_bench.workloads.distribution import THETA_DEFAULT
from splinter_bench.workloads.workload import KEY_BYTES_DEFAULT, KEYS_DEFAULT, VALUE_BYTES_DEFAULT, Account, Workload

if TYPE_CHECKING:  # the compiler is loaded only when a workload needs it
    from splinter_bench.observations import Observations
    from splinter_bench.subjects.target import Target

_NOTES_MAX = 1 << 24  # requests in a recording
_DEPTH_DEFAULT = 64

_Address = Annotated[
    str | None,
    typer.Option("--address", "-a", metavar="IP[:PORT]", help="A server elsewhere; then name a tenant and its token."),
]
_Tenant = Annotated[int | None, typer.Option("--tenant", "-t", help="With --address: the tenant to ask as.", min=1)]
_Token = Annotated[str | None, typer.Option("--token", envvar="SPLINTER_TOKEN", help="With --address: its token.")]
_Udp = Annotated[bool, typer.Option("--udp", help="Send through the network stack even where AF_XDP can be used.")]
_Spin = Annotated[bool, typer.Option("--spin/--sleep", help="Spin, or sleep between requests and leave the CPU to others.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run")(run)
    app.command("replay")(replay)


def run(
    workload: Annotated[str, typer.Option("--workload", "-w", metavar="NAME", help="What to ask for; see --list.")] = "get",
    list_only: Annotated[bool, typer.Option("--list", help="Show the workloads, measure nothing.")] = False,
    instance: Instance = "default",
    lab: Lab = False,
    address: _Address = None,
    tenant: _Tenant = None,
    token: _Token = None,
    table: Annotated[int, typer.Option(help="Of the objects.", min=0)] = 1,
    depth: Annotated[
        int | None,
        typer.Option(
            help=f"Closed loop: requests under way at a time, {_DEPTH_DEFAULT} if there is no --rate.", min=1, max=DEPTH_MAX
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Open loop: requests a second, at random times; latency from when each was due.", min=0.1),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Make load from within the kernel: --rate a second, or all it can. No latencies.")
    ] = False,
    tenants: Annotated[int, typer.Option(help="Who ask, each with its share of the keys.", min=1, max=TENANTS_MAX - 16)] = 1,
    tenant_skew: Annotated[
        float, typer.Option(help="Zipf exponent of the tenants' shares of the requests; 0: all the same.", min=0)
    ] = 0.0,
    keys: Annotated[int, typer.Option(help="Objects, of all tenants together.", min=1)] = KEYS_DEFAULT,
    theta: Annotated[float, typer.Option(help="Zipf exponent of the keys.", min=0)] = THETA_DEFAULT,
    key_bytes: Annotated[int, typer.Option(help="Of each key.", min=8, max=KEY_BYTES_MAX)] = KEY_BYTES_DEFAULT,
    value_bytes: Annotated[
        int, typer.Option(help="Of each value; large ones travel in fragments.", min=8, max=VALUE_BYTES_MAX)
    ] = VALUE_BYTES_DEFAULT,
    batch: Annotated[int, typer.Option(help="Keys of a multiget.", min=1, max=MULTIGET_KEYS_MAX)] = 10,
    invoke: Annotated[str | None, typer.Option(metavar="NAME", help="In place of a workload: invoke this extension.")] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WHAT",
            help="Of --invoke: const:8, uniform:COUNT, zipf:COUNT, sequence:COUNT; for bytes "
            "key:zipf:COUNT, text:TEXT, bytes:COUNT.",
        ),
    ] = None,
    install: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Install this extension for the benchmark's tenants first.")
    ] = None,
    library: Annotated[str | None, typer.Option(metavar="NAME", help="Install this entry of the library first.")] = None,
    preload: Annotated[bool, typer.Option(help="With --invoke: store --keys objects first.")] = False,
    seconds: Annotated[float, typer.Option(help="Of each run.", min=0.05, max=600)] = 1.0,
    runs: Annotated[int, typer.Option(help="Every figure is the median of the runs.", min=1)] = 5,
    limits: Annotated[bool, typer.Option(help="Measure the machine's echoes beside each run, where that is possible.")] = True,
    udp: _Udp = False,
    spin: _Spin = True,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the last run's requests as a trace for 'replay'.")
    ] = None,
    server_core: ServerCore = None,
    client_core: ClientCore = None,
    json_output: Json = False,
) -> None:
    """Run a workload: YCSB, multiget, TAO, or invokes of any extension, in a closed or an open loop.

    Tenants are made for it on a server of this host, and removed; on a server elsewhere it asks as one that is there.
    """
    if list_only:
        _list(json_output)
        return
    from splinter_bench.experiments.case import Case, run_case
    from splinter_bench.experiments.runs import limits as limits_of

    if rate is None and depth is None and not live:
        depth = _DEPTH_DEFAULT
    case = Case(
        workload, invoke, tuple(argument or ()), library, install, preload, depth, rate, live, tenants, tenant_skew, keys,
        theta, key_bytes, value_bytes, batch, seconds, runs,
    )  # fmt: skip
    try:
        with (
            _target(instance, lab, address, tenant, token, tenants, table, udp, server_core, client_core) as target,
            live_progress(lambda: target.client.flight["completed"] if target.is_open else 0) as say,
        ):
            with limits_of(target.session if limits and not live else None) as echoes:
                notes = _NOTES_MAX if record else 0
                found, asked = run_case(target, case, echoes, say, limits=limits, spin=spin, note=notes)
            if record is not None and not live:
                from splinter_bench.workloads import trace

                trace.write(record, trace.from_notes(target.client.flight.noted, asked, value_bytes), key_bytes)
            found.settings = {**case.settings(), "spin": spin, "client": "live frames" if live else target.client_name}
            document = _document("live-run" if live else "run", target, asked, found)
    except ValueError as error:
        raise SplinterError(str(error)) from error
    output(document, json_output)


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A trace, as 'run --record' writes it.")],
    speed: Annotated[float, typer.Option(help="How many times as fast as it was recorded.", min=0.001)] = 1.0,
    depth: Annotated[
        int | None,
        typer.Option(
            help="As fast as possible, so many requests under way, in place of the trace's times.", min=1, max=DEPTH_MAX
        ),
    ] = None,
    instance: Instance = "default",
    lab: Lab = False,
    udp: _Udp = False,
    spin: _Spin = True,
    server_core: ServerCore = None,
    client_core: ClientCore = None,
    json_output: Json = False,
) -> None:
    """Make the requests of a trace again, at its times or as fast as possible, once."""
    from splinter_bench.experiments import runs as measuring
    from splinter_bench.workloads import catalogue, trace

    records, key_bytes = trace.read(file)
    count = len(trace.tenants(records))
    try:
        with (
            _target(instance, lab, None, None, None, count, 1, udp, server_core, client_core) as target,
            live_progress(lambda: target.client.flight["completed"] if target.is_open else 0) as say,
        ):
            loads, workload = trace.replay(records, key_bytes, target.accounts)
            measuring.prepare(target, catalogue.Plan(workload, loads), say)
            say(f"replaying {len(records):,} requests")
            gaps = None if depth else trace.gaps(records, speed)
            found = measuring.replay(target, workload, depth, gaps, spin=spin)
            found.settings = {
                "file": str(file), "depth": depth, "speed": None if depth else speed, "client": target.client_name,
            }  # fmt: skip
            document = _document("run", target, workload, found)
    except ValueError as error:
        raise SplinterError(str(error)) from error
    output(document, json_output)


@contextlib.contextmanager
def _target(
    instance: str, lab: bool, address: str | None, tenant: int | None, token: str | None, tenants: int, table: int, udp: bool,
    server_core: int | None, client_core: int | None,
) -> Generator[Target]:  # fmt: skip
    from splinter.client.encoding import parse_token
    from splinter_bench.subjects.local_server import lab_server
    from splinter_bench.subjects.target import Target

    with contextlib.ExitStack() as stack:
        if address is not None:
            if tenant is None or token is None:
                raise SplinterError("a server elsewhere is asked as a tenant that it has: give --tenant and --token")
            if tenants != 1:
                raise SplinterError("at an --address there is one tenant: --tenants needs a server of this host")
            host, _, port = address.partition(":")
            account = Account(tenant, parse_token(token), table)
            yield stack.enter_context(Target.at_address(host, int(port) if port else PORT_DEFAULT, account))
            return
        if tenant is not None:
            raise SplinterError("--tenant goes with --address: on a server of this host the benchmark makes its own tenants")
        if lab:
            core = max(os.sched_getaffinity(0)) if server_core is None else server_core
            info = stack.enter_context(lab_server(core))
        else:
            info = instances.read(instance)
        target = Target.of_instance(info, tenants, table=table, udp=udp, server_core=server_core, client_core=client_core)
        yield stack.enter_context(target)


def _document(experiment: str, target: Target, workload: Workload, measured: Observations) -> dict[str, Any]:
    from splinter_bench.experiments.runs import failures

    info, session = target.info, target.session
    found: dict[str, Any] = {
        "experiment": experiment,
        **circumstances(),
        "workload": workload.name,
        "failed": failures(measured, workload.name),
    }
    if info is not None and session is not None:
        found["server"] = {"transport": info.transport, "xdp_mode": info.xdp_mode, "cores": list(info.cores)}
        measured.settings |= {"server_core": session.server_core, "client_core": session.client_core}
    return found | measured.to_json()


def _list(json_output: bool) -> None:
    from splinter_bench.workloads.catalogue import CATALOGUE

    if json_output:
        print(json.dumps([{"name": name, "text": entry.text} for name, entry in CATALOGUE.items()], indent=1))
        return
    show(Table(["workload", "what it asks for"], [[name, entry.text] for name, entry in CATALOGUE.items()]))
