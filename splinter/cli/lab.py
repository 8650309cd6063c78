"""``splinter lab``: a veth pair between two network namespaces, a place to try everything."""

from __future__ import annotations

from typing import Annotated

import typer

from splinter import limits
from splinter.net.lab import Lab

app = typer.Typer(help="A veth pair and two network namespaces, a place to try everything (root).", no_args_is_help=True)
_Name = Annotated[str, typer.Option("--name", help="Labs of different names do not disturb each other.")]
_Queues = Annotated[int, typer.Option("--queues", min=1, max=limits.QUEUES_MAX, help="Queues of each end.")]


@app.command()
def up(name: _Name = "splinter", queues: _Queues = 2) -> None:
    """Bring the lab up; one that is there and healthy stays. Then: splinter serve --lab NAME"""
    lab = Lab(name, queues=queues)
    lab.up()
    print(f"lab {name} is up: server end {lab.server_device} in {lab.server_netns}, clients in {lab.client_netns}")
    print(f"next: splinter serve --lab {name}")


@app.command()
def status(name: _Name = "splinter", queues: _Queues = 2) -> None:
    """Say whether the lab is up."""
    print(Lab(name, queues=queues).status())


@app.command()
def down(name: _Name = "splinter") -> None:
    """Remove everything that 'up' made."""
    Lab(name).down()
    print(f"lab {name} is gone")
