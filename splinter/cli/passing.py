"""``splinter pass``: the pass-through program for the other end of a server's veth pair."""

from __future__ import annotations

from typing import Annotated

import typer

from splinter.cli.told import telling
from splinter.terminal import say

_Dev = Annotated[str, typer.Option("--dev", metavar="IFACE", help="The other end of the veth pair that the server serves on.")]
_Netns = Annotated[str | None, typer.Option(help="Network namespace that it is in.")]
_Remove = Annotated[bool, typer.Option("--remove", help="Take it off again.")]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(name="pass")(pass_through)


def pass_through(dev: _Dev, netns: _Netns = None, remove: _Remove = False) -> None:
    """Have the other end of a server's veth pair take what the server's driver sends back (root).

    Attaches an XDP program that lets every packet pass. Without one, replies from the driver wait there until something else
    arrives. It stays until it is removed, or its device is; labs have it already. One that is there stays, and another
    program is never replaced.

    Example, on the host of a container that serves: splinter pass --dev veth1a2b3c4
    """
    from splinter.net import netns as namespaces
    from splinter.net.xdp import pass_through as program

    with namespaces.inside(netns):
        changed = program.remove(dev) if remove else program.put_on(dev)
    if remove:
        state = f"the pass-through program is off {dev}" if changed else f"there was no pass-through program on {dev}"
    else:
        state = f"{dev} has the pass-through program{'' if changed else ' already'}"
    with telling(state):
        say(state)
