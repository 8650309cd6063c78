"""Goals' figures of this checkout beside those of another commit, in turns: what ``scripts/against`` runs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from splinter_bench.process import AFTERWARDS_SECONDS_MAX, end
from splinter_bench.rounds import interval, turn

from splinter.interrupts import interruptible

TURNS_DEFAULT = 15
ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = 130  # status
_TIMES = ("ns", "ms")  # units, and names of parts
PLACE = ROOT / "build" / "against"


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"against: git {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A commit's tree, for as long as the context lasts."""
    name = _git("rev-parse", "--verify", "--short", f"{commit}^{{commit}}")
    place = PLACE / name
    _git("worktree", "prune")
    if place.exists():  # left by one that was killed
        _git("worktree", "remove", "--force", str(place))
    _git("worktree", "add", "--quiet", "--detach", str(place), name)
    try:
        yield place
    finally:
        _git("worktree", "remove", "--force", str(place))


def figures(root: Path, goals: Sequence[str]) -> dict[str, float]:
    """Medians by figure and unit of one measurement of a checkout, with this one's environment and a cache of its own.

    Of a figure that is a ratio, the time that it was made of is one too, if it tells it: other commits may tell only that.
    """
    only = [word for goal in goals for word in ("--only", goal)]
    words = [sys.executable, "-m", "splinter", "bench", "goals", "--json", *only]
    variables = dict(os.environ)
    if root != ROOT:  # with the laboratory of that commit, where it has one: what is installed is that of this checkout
        variables |= {"XDG_CACHE_HOME": str(PLACE / "cache"), "PYTHONPATH": os.pathsep.join((str(root), str(root / "bench")))}
    process = subprocess.Popen(words, cwd=root, env=variables, stdout=subprocess.PIPE, text=True)
    try:
        said, _ = process.communicate()
    except KeyboardInterrupt:
        end(process, AFTERWARDS_SECONDS_MAX)  # it removes what it made
        raise
    try:
        found = [goal["figure"] | {"name": goal["name"]} for goal in json.loads(said)["goals"] if goal["figure"] is not None]
        values = {f"{figure['name']}, {figure['unit']}": figure["median"] for figure in found}
        times = {f"{figure['name']}, {unit}": figure["parts"].get(unit) for figure in found for unit in _TIMES}
        return {name: value for name, value in (times | values).items() if value is not None}
    except (ValueError, KeyError, TypeError):
        raise SystemExit(f"against: the goals of {root} were not measured (status {process.returncode})") from None


def line(name: str, there: Sequence[float], here: Sequence[float]) -> str:
    """What a figure's pairs say."""
    ratios = [new / old for old, new in zip(there, here, strict=True)]
    low, high = interval(ratios)
    return (
        f"{name}: {statistics.median(there):.4g} there, {statistics.median(here):.4g} here; "
        f"{statistics.median(ratios):.3f} × ({low:.3f} … {high:.3f}) in {len(ratios)} turns"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/against", description=__doc__)
    parser.add_argument("commit", help="whose figures come second")
    parser.add_argument("--only", metavar="NAME", action="append", required=True, help="a goal, figure or area; several times")
    parser.add_argument("--turns", type=int, default=TURNS_DEFAULT, help="by default %(default)s; six give an interval")
    options = parser.parse_args(arguments)
    pairs: list[dict[Path, dict[str, float]]] = []
    with interruptible(), checkout(options.commit) as other:
        try:
            for root in (other, ROOT):
                figures(root, options.only)  # compiles what is not in the caches
            for number in range(options.turns):
                pairs.append({root: figures(root, options.only) for root in turn((other, ROOT), number)})
                print(f"turn {number + 1} of {options.turns}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pairs = [pair for pair in pairs if len(pair) == 2]
        for name in dict.fromkeys(name for pair in pairs for name in pair[other]):
            both = [pair for pair in pairs if name in pair[other] and name in pair[ROOT] and pair[other][name]]
            if both:
                print(line(name, [pair[other][name] for pair in both], [pair[ROOT][name] for pair in both]))
    return 0 if len(pairs) == options.turns else INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
