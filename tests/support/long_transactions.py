"""Transactions for longer than the tests have them: what ``scripts/transactions`` runs."""

from __future__ import annotations

import argparse
import random
import sys

from tests.support import long_histories

COMMANDS = {
    "histories": (long_histories, "random invokes and requests through a faulty network, checked for strict serializability"),
}
SECONDS_DEFAULT = 1800.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/transactions", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        module.add_arguments(command)
        command.add_argument("--seconds", type=float, default=SECONDS_DEFAULT, help="end after so long, whatever was done")
        command.add_argument("--transport", choices=["udp", "xdp"], default="udp")
        command.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    wrong = COMMANDS[options.command][0].run(options, lambda text: print(text, flush=True))
    print("\n\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
