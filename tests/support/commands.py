"""Commands within this process: ``CliRunner``, which builds a command line once.

Typer's builds all commands for each call of one of them: 32 ms, where most calls take 5.
"""

from __future__ import annotations

import functools

import typer.main
import typer.testing
from typer.testing import CliRunner as CliRunner

typer.testing._get_command = functools.cache(typer.main.get_command)  # type: ignore[attr-defined]
