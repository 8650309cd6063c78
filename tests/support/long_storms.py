"""Transactions in a storm of kills: what ``scripts/transactions bank`` and ``jobs`` run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from splinter import limits
from tests.support import bank, job_queue
from tests.support.kill_storm import KILLS_DEFAULT, MEMORY, Crew, storm
from tests.support.servers import running_server

JOBS_DEFAULT = 100_000


def add_bank_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command."""
    parser.add_argument("--kills", type=int, default=KILLS_DEFAULT, help=f"by default {KILLS_DEFAULT}")


def add_jobs_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command."""
    parser.add_argument("jobs", type=int, nargs="?", default=JOBS_DEFAULT, help=f"by default {JOBS_DEFAULT}")


def run_bank(options: argparse.Namespace, show: Callable[[str], None]) -> list[str]:
    """Kill workers as often as the command says; returns what is wrong."""
    return _run(bank.BANK, options.kills, options, show)


def run_jobs(options: argparse.Namespace, show: Callable[[str], None]) -> list[str]:
    """Deliver the command's number of jobs while workers are killed; returns what is wrong."""
    return _run(job_queue.crew(options.jobs), 0, options, show)


def _run(crew: Crew, kills: int, options: argparse.Namespace, show: Callable[[str], None]) -> list[str]:
    as_operators_run_it = ("--watchdog-ms", str(limits.WATCHDOG_MS), "--memory", MEMORY, "--cores", "0,1")
    with running_server(
        f"t{os.getpid()}x0", options.transport, *as_operators_run_it, module="tests.support.audited_serve"
    ) as server:
        verdict = storm(server, kills, options.seed, options.seconds, show, crew)
    show(f"{verdict.tally}; {verdict}")
    show("something is wrong" if verdict.findings else "nothing is lost, nothing is wrong; the store's audit is clean")
    return verdict.findings
