"""One ``splinter bench run`` as data: what is asked for, how, and the command line that does the same."""

from __future__ import annotations

import shlex
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from splinter.errors import SplinterError
from splinter.ext.library import entry, split
from splinter_bench.experiments.live_runs import measure_live
from splinter_bench.experiments.runs import Running, measure, prepare
from splinter_bench.observations import Observations
from splinter_bench.progress import Progress
from splinter_bench.subjects.target import Target
from splinter_bench.workloads.arguments import invoke_workload
from splinter_bench.workloads.catalogue import Plan, Shape, build, each_tenant_once
from splinter_bench.workloads.distribution import THETA_DEFAULT
from splinter_bench.workloads.workload import KEY_BYTES_DEFAULT, KEYS_DEFAULT, VALUE_BYTES_DEFAULT, Workload, put_operation

BATCH_DEFAULT = 10
RUNS_DEFAULT = 5
SECONDS_DEFAULT = 1.0


@dataclass(frozen=True)
class Case:
    """The options of ``splinter bench run`` by name; a ``depth``, a ``rate`` or ``live`` says how requests are sent."""

    workload: str = "get"
    invoke: str | None = None  # in place of a workload
    argument: tuple[str, ...] = ()
    library: str | None = None
    install: Path | None = None
    preload: bool = False
    depth: int | None = None
    rate: float | None = None
    live: bool = False
    tenants: int = 1
    tenant_skew: float = 0.0
    keys: int = KEYS_DEFAULT
    theta: float = THETA_DEFAULT
    key_bytes: int = KEY_BYTES_DEFAULT
    value_bytes: int = VALUE_BYTES_DEFAULT
    batch: int = BATCH_DEFAULT
    seconds: float = SECONDS_DEFAULT
    runs: int = RUNS_DEFAULT

    def command(self) -> str:
        """The command line of this case, against a server in a lab of its own."""
        words = ["splinter", "bench", "run", "--lab"]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.default is not MISSING and value == field.default:
                continue
            name = "--" + field.name.replace("_", "-")
            if value is True:
                words.append(name)
            elif isinstance(value, tuple):
                words += [word for item in value for word in (name, item)]
            else:
                words += [name, str(value)]
        return shlex.join(words)

    def settings(self) -> dict[str, Any]:
        """Plain values of what shapes load and objects."""
        hidden = {"workload", "invoke", "argument", "library", "install", "preload", "live"}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in hidden}

    def plan(self, target: Target) -> Plan:
        """What is stored, installed and asked. Raises :class:`SplinterError` for what cannot be, ``ValueError`` likewise."""
        shape = Shape(target.accounts, self.tenant_skew, self.keys, self.theta, self.key_bytes, self.value_bytes, self.batch)
        return build(self.workload, shape) if self.invoke is None else self._invokes(target, self.invoke, shape)

    def _invokes(self, target: Target, name: str, shape: Shape) -> Plan:
        sources: dict[str, str] = {}
        if self.library is not None:
            sources |= entry(self.library).sources
        if self.install is not None:
            try:
                sources |= split(self.install.read_text(encoding="utf-8"))
            except (OSError, SyntaxError) as error:
                raise SplinterError(f"{self.install}: {error}") from error
        if target.session is not None and name not in sources:
            raise SplinterError(
                f"the benchmark's tenants are new and have no {name!r}: name its source, --install FILE or --library NAME"
            )
        target.install(tuple(sources.values()))
        loads: tuple[Workload, ...] = ()
        if self.preload:
            loads = (each_tenant_once(put_operation(shape.accounts[0], shape.key_bytes, shape.value_bytes), shape),)
        return Plan(invoke_workload(target.signature(name), self.argument, shape), loads)


def run_case(
    target: Target,
    case: Case,
    echoes: dict[str, Any],
    progress: Progress,
    *,
    limits: bool = True,
    spin: bool = True,
    note: int = 0,
) -> tuple[Observations, Workload]:  # fmt: skip
    """Prepare and run a case beside ``echoes`` (of :func:`.runs.limits`); a ``live`` one beside its own, if ``limits``.

    Raises :class:`SplinterError`, and ``ValueError`` for a shape that cannot be.
    """
    plan = case.plan(target)
    progress("preparing")
    prepare(target, plan, progress)
    running = Running(case.depth, case.rate, case.runs, case.seconds, spin=spin, note=note)
    if case.live:
        found = measure_live(target, plan.workload, running, limits=limits, progress=progress)
    else:
        found = measure(target, plan.workload, running, echoes, progress)
    return found, plan.workload
