"""``splinter lab``: a veth pair between two network namespaces, a place to try everything."""

from __future__ import annotations

from typing import Annotated

import typer

from splinter import limits
from splinter.cli.errors import fail
from splinter.cli.exit_status import ExitStatus
from splinter.cli.listing import AsJson, say_json
from splinter.cli.told import telling
from splinter.terminal import say

app = typer.Typer(help="A veth pair and two network namespaces, a place to try everything (root).", no_args_is_help=True)
_Name = Annotated[str, typer.Option("--name", help="Labs of different names do not disturb each other.")]
_Queues = Annotated[int, typer.Option("--queues", min=1, max=limits.QUEUES_MAX, help="Queues of each end.")]


@app.command()
def up(name: _Name = "splinter", queues: _Queues = 2) -> None:
    """Bring the lab up; one that is there and healthy stays.

    Example: splinter lab up --queues 4
    """
    from splinter.net.lab import Lab

    lab = Lab(name, queues)
    made = lab.up()
    state = f"lab {name} {'is up' if made else 'was up already'}"
    with telling(state):
        say(
            f"{state}: server {lab.server.device} {lab.server.address} in {lab.server.namespace}, "
            f"clients {lab.client.device} {lab.client.address} in {lab.client.namespace}"
        )
        say(f"next: splinter serve --lab {name}")


@app.command()
def status(name: _Name = "splinter", queues: _Queues = 2, as_json: AsJson = False) -> None:
    """Say whether the lab is up, and what is wrong with it; exit status 1 when it is not up."""
    from splinter.net.lab import Lab

    found = Lab(name, queues).status()
    if as_json:
        say_json({"name": name, "up": found.up, "problems": list(found.problems)})
        raise typer.Exit(0 if found.up else ExitStatus.FAILED)
    if not found.up:
        raise fail("; ".join(found.problems))
    say(f"lab {name} is up")


@app.command()
def down(name: _Name = "splinter") -> None:
    """Remove everything that 'up' made.

    Example: splinter lab down
    """
    from splinter.net.lab import Lab

    Lab(name).down()
    with telling(f"lab {name} is gone"):
        say(f"lab {name} is gone")
