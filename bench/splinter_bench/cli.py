"""``splinter bench``."""

from __future__ import annotations

import contextlib
import os
from typing import Annotated

import typer

from splinter.errors import SplinterError
from splinter.interrupts import interruptible
from splinter.limits import KEY_BYTES_MAX, PACKET_BODY_BYTES_MAX
from splinter.server import instance as instances
from splinter_bench import experiment_commands, goals_commands, profile_command, report_commands, run_commands
from splinter_bench.experiments.suite import Settings, measure
from splinter_bench.generators.load import DEPTH_MAX
from splinter_bench.options import ClientCore, Instance, Json, Lab, ServerCore, circumstances, output
from splinter_bench.progress import progress
from splinter_bench.report import told
from splinter_bench.subjects.local_server import lab_server
from splinter_bench.workloads.workload import KEY_BYTES_DEFAULT, KEYS_DEFAULT, VALUE_BYTES_DEFAULT

bench_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_DEFAULTS = Settings()


@bench_app.callback(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
def run(
    context: typer.Context,
    instance: Instance = "default",
    lab: Lab = False,
    redis: Annotated[bool, typer.Option("--redis", help="Measure redis-server too, on the same link and core.")] = False,
    memcached: Annotated[bool, typer.Option("--memcached", help="Measure memcached too, on the same link and core.")] = False,
    runs: Annotated[int, typer.Option(help="Every figure is the median of the runs.", min=1)] = _DEFAULTS.runs,
    seconds: Annotated[float, typer.Option(help="Of each run.", min=0.1, max=600)] = 1.0,
    depth: Annotated[
        list[int] | None,
        typer.Option(help="Requests under way at a time; may be given several times.", min=1, max=DEPTH_MAX),
    ] = None,
    keys: Annotated[int, typer.Option(help="Objects in the store.", min=1)] = KEYS_DEFAULT,
    key_bytes: Annotated[int, typer.Option(help="Of each key.", max=KEY_BYTES_MAX)] = KEY_BYTES_DEFAULT,
    value_bytes: Annotated[int, typer.Option(help="Of each value.", max=PACKET_BODY_BYTES_MAX)] = VALUE_BYTES_DEFAULT,
    server_core: ServerCore = None,
    client_core: ClientCore = None,
    json_output: Json = False,
) -> None:
    """Measure get and put of a running server, beside the machine's AF_XDP echo and rivals.

    Latencies are those of the load generator's clock, from before a request is sent until its reply is there. The echo
    is the same load generator against a loop that only sends packets back: what no server on this machine can beat.
    """
    context.with_resource(interruptible())  # whatever is measured
    if context.invoked_subcommand is not None:
        return
    try:
        settings = Settings(
            runs=runs,
            seconds=seconds / _DEFAULTS.slices,
            depths=tuple(dict.fromkeys(depth)) if depth else _DEFAULTS.depths,
            keys=keys,
            key_bytes=key_bytes,
            value_bytes=value_bytes,
            rivals=tuple(name for name, is_wanted in (("redis", redis), ("memcached", memcached)) if is_wanted),
            server_core=server_core,
            client_core=client_core,
        )
        with contextlib.ExitStack() as stack:
            if lab:
                core = max(os.sched_getaffinity(0)) if server_core is None else server_core
                info = stack.enter_context(lab_server(core))
            else:
                info = instances.read(instance)
            with progress(settings.steps()) as say:
                report = measure(info, settings, say)
    except ValueError as error:
        raise SplinterError(str(error)) from error
    document = {**report.to_json(), **circumstances(), "failed": report.failed}
    output(document, json_output, None, *told.circumstances(document))


goals_commands.register(bench_app)
run_commands.register(bench_app)
experiment_commands.register(bench_app)
report_commands.register(bench_app)
profile_command.register(bench_app)
