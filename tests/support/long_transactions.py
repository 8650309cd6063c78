"""Transactions for longer than the tests have them: what ``scripts/transactions`` runs."""

from __future__ import annotations

import argparse
import random
import sys

from tests.support import long_histories, long_storms

SECONDS_DEFAULT = 1800.0
COMMANDS = {
    "histories": (
        long_histories.add_arguments, long_histories.run,
        "random invokes and requests through a faulty network, checked for strict serializability",
    ),
    "bank": (
        long_storms.add_bank_arguments, long_storms.run_bank,
        "transfers between accounts, each once, and sums of all, which never change",
    ),
    "jobs": (
        long_storms.add_jobs_arguments, long_storms.run_jobs,
        "a queue that delivers each job once",
    ),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/transactions", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (add_arguments, run, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        add_arguments(command)
        command.add_argument("--seconds", type=float, default=SECONDS_DEFAULT, help="end after so long, whatever was done")
        command.add_argument("--transport", choices=["udp", "xdp"], default="udp")
        command.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    wrong = options.run(options, lambda text: print(text, flush=True))
    print("\n\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
