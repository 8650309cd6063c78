"""``splinter``: the command line."""

from __future__ import annotations

from typing import Annotated

import typer

import splinter
from splinter.cli import (
    backup,
    dump,
    events,
    extensions,
    lab,
    objects,
    passing,
    ping,
    purge,
    restore,
    serve,
    stats,
    tenant,
    warm,
)
from splinter.cli.errors import Commands
from splinter.cli.start import main as main  # what installed scripts call
from splinter.errors import SplinterError
from splinter.terminal import say

app = typer.Typer(
    name="splinter",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A multi-tenant, in-memory key-value store that tenants push code into.",
    epilog="Start with: splinter lab up; splinter serve --lab splinter",
)
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"splinter {splinter.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A multi-tenant, in-memory key-value store that tenants push code into."""


serve.register(app)
ping.register(app)
purge.register(app)
warm.register(app)
app.add_typer(lab.app, name="lab")
passing.register(app)
app.add_typer(tenant.app, name="tenant")
objects.register(app)
extensions.register(app)
stats.register(app)
backup.register(app)
dump.register(app)
restore.register(app)
events.register(app)


@app.command(context_settings=_PASS_ON)
def bench(context: typer.Context) -> None:
    """Measure: load generator, and comparisons with the machine's limits ('splinter bench --help')."""
    try:
        from splinter_bench.cli import bench_app  # compiled code and its cache are loaded only when they are needed
    except ModuleNotFoundError as error:
        if error.name != "splinter_bench":
            raise
        raise SplinterError(
            "the laboratory is not installed: pip install ./bench in a checkout of Splinter, or run scripts/setup"
        ) from None

    bench_app(args=context.args, prog_name="splinter bench")


if __name__ == "__main__":
    main()
