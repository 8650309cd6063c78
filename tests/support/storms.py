"""Storms of kills on servers of their own: what ``scripts/kill-storm`` runs."""

from __future__ import annotations

import argparse
import os
import random
import sys

from splinter import limits
from tests.support.kill_all import storm_of_all
from tests.support.kill_storm import KILLS_DEFAULT, MEMORY, MINUTES_DEFAULT, Verdict, storm
from tests.support.servers import running_lab, running_server, serving

KILLS_OF_ALL_DEFAULT = 100
_AUDITED = "tests.support.audited_serve"


def _of_all(name: str, kills: int, seed: int, seconds: float, options: tuple[str, ...]) -> Verdict:
    with running_lab(name) as lab, serving(name, lab, *options, module=_AUDITED) as server:
        return storm_of_all(server, lab, options, kills, seed, seconds, _show, module=_AUDITED)


def _of_workers(name: str, transport: str, kills: int, seed: int, seconds: float, options: tuple[str, ...]) -> Verdict:
    with running_server(name, transport, *options, module=_AUDITED) as server:
        return storm(server, kills, seed, seconds, _show)


def _show(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/kill-storm", description=__doc__)
    parser.add_argument("--kills", type=int, help=f"by default {KILLS_DEFAULT:,}, with --all {KILLS_OF_ALL_DEFAULT}")
    parser.add_argument("--all", action="store_true", help="kill every process at once, start the server again each time (XDP)")
    parser.add_argument("--minutes", type=float, default=MINUTES_DEFAULT, help="end after so long, whatever was done")
    parser.add_argument("--transport", choices=["udp", "xdp"], default="xdp")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    options = parser.parse_args()
    if options.all and options.transport != "xdp":
        parser.error("only over XDP does the store outlive its processes")
    print(f"seed {options.seed}", flush=True)
    as_operators_run_it = ("--watchdog-ms", str(limits.WATCHDOG_MS), "--memory", MEMORY)
    name, kills, seconds = f"t{os.getpid()}x0", options.kills, options.minutes * 60
    if options.all:
        verdict = _of_all(name, kills or KILLS_OF_ALL_DEFAULT, options.seed, seconds, as_operators_run_it)
    else:
        verdict = _of_workers(name, options.transport, kills or KILLS_DEFAULT, options.seed, seconds, as_operators_run_it)
    print(verdict)  # the server has ended well, so the store's audit found nothing
    print("\n".join(verdict.findings) if verdict.findings else "nothing is lost, nothing is wrong; the store's audit is clean")
    return 1 if verdict.findings else 0


if __name__ == "__main__":
    sys.exit(main())
