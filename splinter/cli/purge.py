"""``splinter purge``."""

from __future__ import annotations

from typing import Annotated

import typer

from splinter.cli.completion import complete_instance
from splinter.errors import ServerError, SplinterError
from splinter.terminal import say


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(purge)


def purge(
    instance: Annotated[
        str,
        typer.Option(
            "--instance", "-i", envvar="SPLINTER_INSTANCE", help="Whose traces are removed.", autocompletion=complete_instance
        ),
    ] = "default",
    all_instances: Annotated[
        bool, typer.Option("--all", help="Those of every instance on this host that does not run.")
    ] = False,
) -> None:
    """Remove what a server left that has ended: its store, its program on a device, its run folder.

    A server that crashed leaves its store, and the next 'splinter serve' of the same instance goes on with it. After a purge
    there is nothing to go on with. A server that runs is not touched.
    """
    from splinter.server.instance import is_running
    from splinter.server.purge import left
    from splinter.server.purge import purge as remove

    failures: list[str] = []
    names = left() if all_instances else [instance]
    for name in names:
        if all_instances and is_running(name):
            say(f"instance {name}: its server runs")
            continue
        try:
            removed = remove(name)
            say(f"instance {name}: removed {', '.join(removed)}" if removed else f"instance {name}: nothing is left of it")
        except ServerError as error:
            if not all_instances:
                raise
            failures.append(str(error))
    if all_instances and not names:
        say("nothing is left of any instance")
    if failures:
        raise SplinterError("; ".join(failures))
