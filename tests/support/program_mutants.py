"""Wrong programs: each is the server's XDP program with one condition changed. Each must be refused, or fail a test.

What ``scripts/mutants`` runs. Mutants are made by rule: of every comparison, every condition, and every operand of ``&&`` and
``||`` in the sources that decide.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    "tier.h", "store.h", "blocks.h", "checksum.h", "answer.h", "invoke.h", "epoch.h", "work.h", "room.h", "token.h",
    "splinter.c", "parsing.h", "place.h", "rate.h", "steer.h",
)  # fmt: skip
TESTS = tuple(
    f"tests/system/net/test_{name}.py"
    for name in ("decisions", "tier_pauses", "tier_deceit", "tier_collisions", "tier_invokes", "tier", "pauses")
)
FOLDER_VARIABLE = "SPLINTER_MUTATED_BPF"
SECONDS_MAX = 600
_TESTS_FAILED, _FAILED = 1, re.compile(r"^1 failed\b", re.MULTILINE)  # pytest's status, and its summary

_COMPARISON = re.compile(r" (<=|>=|==|!=|<|>) ")
_OTHERS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
_CODE = re.compile(r"^\s*(?:if|for|while|return|\} else if|    *[^ /*].*(?:&&|\|\|))")
_OPERATOR = re.compile(r" (&&|\|\|) ")

# Mutants that are as good as the program, by a piece of the line that they change, and why.
EQUIVALENT = {
    "int depth = 0; depth": "a chain is never longer than CHAIN_BUCKETS_MAX; the bound is the verifier's",
    "int tries = 0; tries": "one object more is compared, of the same tag and identity",
    "look = 0; look": "one look more finds the same",
    "longer && bpf_xdp_adjust_head": "to move the head by nothing does nothing",
    "cannot be": "for the verifier, which refuses the program without it or sees the same",
}
# The same, by a piece of what the line becomes.
ALIKE = {
    "left >= 0; left -= BLOCK_BYTES": "one block more is copied, of what lies in front",
    "slot > EXTENSIONS_MAX": "a tail call beyond the array does nothing",
    "> (__s64)WINDOW_NS": "a window is one nanosecond longer",
    "asked <= most": "of two that are equal either is the smaller",
    "_SHIFT != tag)": "an empty entry leads to the empty slab, which has no object",
    "end <= BLOCK_BYTES": "nothing ends behind the first header",
    "(p->ethernet + 1) >= p->end": "a frame that ends there is passed on by the next comparison",
    "(p->ip + 1) >= p->end": "likewise",
    "& 3) <= 2": "senders are looked up whose addresses none of the table's can be: it has our own, which do not send to us",
    "if (bpf_map_lookup_elem(&addresses, &source))": "likewise",
    "burst <= RATE_BURST_NS": "of two that are equal either is the larger",
    "due >= now + burst": "a burst is one nanosecond shorter",
    "due <= now": "of two that are equal either is where the interval begins",
    "i <= CORES": "there is no depth of a core beyond the last",
    "if (other->packets < least)": "the verifier knows that each of the cores has a depth",
    "sizeof(struct ipv4) >= request->end": "a frame of a request is longer",
}


@dataclass(frozen=True)
class Mutant:
    """One changed line of a source."""

    source: str
    line: int  # from 1
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.before.strip()}  ->  {self.after.strip()}"


def mutants(source: str, text: str) -> Iterator[Mutant]:
    """All of one source."""
    is_comment = False
    for number, line in enumerate(text.splitlines(), 1):
        is_comment = is_comment or line.lstrip().startswith("/*")
        if not is_comment and not line.startswith("#") and _CODE.match(line) and not any(part in line for part in EQUIVALENT):
            for after in _changed(line):
                if not any(part in after for part in ALIKE):
                    yield Mutant(source, number, line, after)
        if "*/" in line:
            is_comment = False


def _changed(line: str) -> Iterator[str]:
    for found in _COMPARISON.finditer(line):
        yield line[: found.start(1)] + _OTHERS[found[1]] + line[found.end(1) :]
    if "if (" in line and not _OPERATOR.search(line) and line.rstrip().endswith(")"):
        for truth in ("0", "1"):
            yield re.sub(r"if \(.*\)", f"if ({truth})", line)
    yield from _with_less(line)


def _with_less(line: str) -> Iterator[str]:
    """The line without each of its operands of ``&&`` and ``||`` that stand outside of inner parentheses."""
    inner = re.search(r"if \((.*)\)( \{)?$", line) or re.search(r"return (.*?)(?:;| &&| \|\|)$", line)
    inner = inner or re.match(r" +(.*?)(?:;| &&| \|\||\)| \{)*$", line)
    if inner is None:
        return
    parts, operators = _operands(inner[1])
    for number in range(len(parts) if len(parts) > 1 else 0):
        kept = [f"{'' if at == 0 else operators[at - 1]}{part}" for at, part in enumerate(parts) if at != number]
        yield line[: inner.start(1)] + re.sub(r"^ (&&|\|\|) ", "", "".join(kept)) + line[inner.end(1) :]


def _operands(text: str) -> tuple[list[str], list[str]]:
    parts, operators, depth, begin = [], [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and (found := _OPERATOR.match(text, at)):
            parts.append(text[begin:at])
            operators.append(found[0])
            begin = found.end()
    return [*parts, text[begin:]], operators


def judge(mutant: Mutant) -> str:
    """Who found it: ``compiler``, ``verifier``, ``tests``, or ``nobody``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "bpf"
        shutil.copytree(ROOT / "bpf", folder)
        path = folder / mutant.source
        lines = path.read_text().splitlines()
        lines[mutant.line - 1] = mutant.after
        path.write_text("\n".join(lines) + "\n")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-p",
            "tests.support.mutated_bpf",
            *TESTS,
        ]
        environment = {**os.environ, FOLDER_VARIABLE: str(folder)}
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )
    if run.returncode == 0:
        return "nobody"
    if "could not be compiled" in run.stdout:
        return "compiler"
    if "the kernel refused the program" in run.stdout:
        return "verifier"
    if run.returncode != _TESTS_FAILED or not _FAILED.search(run.stdout):
        raise SystemExit(f"{mutant}: the tests did not run:\n{run.stdout}{run.stderr}")
    return "tests"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", action="append", choices=SOURCES, help="only mutants of this source")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one mutant in N")
    parser.add_argument("--list", action="store_true", help="show them, and judge none")
    options = parser.parse_args()
    made = [one for source in options.source or SOURCES for one in mutants(source, (ROOT / "bpf" / source).read_text())]
    made = made[:: options.every]
    if options.list:
        print("\n".join(map(str, made)))
        return 0
    counts: Counter[str] = Counter()
    for number, mutant in enumerate(made, 1):
        started = time.monotonic()
        by = judge(mutant)
        counts[by] += 1
        print(f"{number} of {len(made)}, {time.monotonic() - started:.0f} s: {by}: {mutant}", flush=True)
    print(f"{len(made)} mutants: " + ", ".join(f"{count} found by {by}" for by, count in counts.most_common()))
    return 1 if counts["nobody"] else 0


if __name__ == "__main__":
    sys.exit(main())
