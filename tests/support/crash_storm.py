"""A data folder under a storm: every process of its server killed under load, torn ends, flipped bits; what
``scripts/crash-storm`` runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from splinter.durable.catalog import Catalog
from splinter.durable.groups import GROUP_BYTES, Kind, boot_digest, framed, group_at, header_at, span
from splinter.durable.segments import Confirmed
from splinter.durable.snapshots import first_group, snapshots_in
from splinter.errors import ServerError
from splinter.net.lab import Lab
from tests.support.kill_all import TIMEOUT_SECONDS, kill_everything
from tests.support.kill_storm import MEMORY, STORM, Crew, Storm, Verdict, storm
from tests.support.servers import RunningServer, running_lab, serving

ROUNDS_DEFAULT, MINUTES_DEFAULT = 1000, 240.0
AUDITED = "tests.support.audited_serve"
_ORDERS = ("supervisor first", "supervisor last", "at random")
_PAYLOAD_MAX = 4096
_REFUSED_SECONDS = 120


@dataclass(frozen=True)
class Place:
    """Where a group of a data folder lies."""

    path: Path
    at: int
    number: int
    size: int  # bytes that are verified

    @property
    def end(self) -> int:
        """Where the next group begins."""
        return self.at + span(self.size - GROUP_BYTES)


class Disk:
    """The files of a data folder between two servers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        catalog = Catalog(folder / "splinter.db")
        self._identity = catalog.identity
        catalog.close()

    def _groups(self, path: Path) -> list[Place]:
        data, at, found = np.fromfile(path, np.uint8), 0, []
        while (header := header_at(data, at, self._identity)) is not None:
            number, size = int(header["number"]), GROUP_BYTES + int(header["bytes"])
            if found and path.suffix == ".log" and number != found[-1].number + 1:
                break  # what an earlier use of the segment left
            found.append(Place(path, at, number, size))
            at = found[-1].end
        return found

    def log(self) -> list[Place]:
        """The groups of the log that a recovery reads."""
        snapshots = snapshots_in(self._folder / "snapshots")
        first = first_group(snapshots[-1]) if snapshots else 1
        segments = [self._groups(path) for path in sorted((self._folder / "log").glob("*.log"))]
        return sorted(
            (group for groups in segments for group in groups if group.number >= first), key=lambda group: group.number
        )

    def snapshot(self) -> list[Place]:
        """The groups of the newest snapshot."""
        snapshots = snapshots_in(self._folder / "snapshots")
        return self._groups(snapshots[-1]) if snapshots else []

    @contextlib.contextmanager
    def flipped(self, dice: random.Random, *, in_snapshot: bool) -> object:
        """One bit of what is verified, flipped for the block. The value is where; None: there is nothing to flip."""
        places = self.snapshot() if in_snapshot else [group for group in self.log() if self._is_confirmed(group)]
        if not places:
            yield None
            return
        group = dice.choice(places)
        at, bit = group.at + dice.randrange(group.size), 1 << dice.randrange(8)
        self._flip(group.path, at, bit)
        try:
            yield f"bit {bit:#x} of byte {at} of {group.path.name}"
        finally:
            self._flip(group.path, at, bit)

    def _is_whole(self, group: Place) -> bool:
        return group_at(np.fromfile(group.path, np.uint8), group.at, self._identity) is not None

    def _is_confirmed(self, group: Place) -> bool:
        return group.number <= Confirmed(self._folder / "log").number

    @staticmethod
    def _flip(path: Path, at: int, bit: int) -> None:
        with path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ bit]))

    def tear(self, dice: random.Random) -> bool:
        """Leave, behind the last group, what a group leaves whose sectors came to the disk in part, in any order."""
        groups = self.log()
        if not groups or not self._is_whole(groups[-1]):  # a crash leaves one such end, and here it has
            return False
        last, payload = groups[-1], dice.randbytes(dice.randrange(_PAYLOAD_MAX))
        pieces = framed(
            Kind.CHANGES, last.number + 1, self._identity, boot_digest(), time.time_ns(), [memoryview(payload)]
        )  # fmt: skip
        torn = np.frombuffer(b"".join(pieces), np.uint8).reshape(-1, 512)
        lost = dice.sample(range(len(torn)), dice.randint(1, len(torn)))
        with last.path.open("r+b") as file:
            for number in set(range(len(torn))) - set(lost):
                file.seek(last.end + number * 512)
                file.write(torn[number].tobytes())
        return True


@dataclass(frozen=True)
class OnDisk:
    """A server with a data folder, each of whose replies can be relied on."""

    server: RunningServer
    lab: Lab
    options: tuple[str, ...]  # that it was started with
    folder: Path


@contextlib.contextmanager
def serving_on_disk(name: str, parent: Path, *, module: str) -> Iterator[OnDisk]:
    """One in a lab of its own for the block; its data folder is made in ``parent``."""
    folder = parent / "data"
    options = ("--memory", MEMORY, "--data", str(folder), "--durability", "always")
    with running_lab(name) as lab, serving(name, lab, *options, module=module) as server:
        yield OnDisk(server, lab, options, folder)


def storm_on_disk(
    made: OnDisk, rounds: int, seed: int, seconds_max: float, crew: Crew = STORM, module: str = AUDITED
) -> tuple[Verdict, Counter[str]]:
    """Kill all of a server's processes ``rounds`` times while a crew works, and start it again: from the disk, or, one time in
    four, on the store that was left. Before a start from the disk its files are damaged as a crash may do it; and with one
    flipped bit a start is to be refused. Returns the verdict, and what was done how often."""
    done: Counter[str] = Counter()
    server, lab, options, folder = made.server, made.lab, made.options, made.folder
    name = server.info.instance

    def strike(work: Storm) -> None:
        work.wait_for_all()
        work.wait_for_requests()
        order = work.dice.choice(_ORDERS)
        kill_everything(server, order, work.dice)
        fresh = ("--fresh",) if work.dice.random() < 0.75 else ()
        if fresh:
            disk = Disk(folder)
            if work.dice.random() < 0.5 and disk.tear(work.dice):
                done["torn"] += 1
            elif work.dice.random() < 0.3:
                with disk.flipped(work.dice, in_snapshot=work.dice.random() < 0.5) as what:
                    if what is not None:
                        _require_refusal(name, lab, options, what)
                        done["flipped"] += 1
        try:
            work.go_on(lab, *options, *fresh, module=module)
        except ServerError:
            kept = Path(tempfile.mkdtemp(prefix="splinter-storm-kept-", dir=folder.parent.parent)) / folder.name
            shutil.copytree(folder, kept)
            print(f"the data folder that no server starts from is kept in {kept}", flush=True)
            raise
        done["from the disk" if fresh else "attached"] += 1
        print(f"round {work.verdict.kills}, {order}; {work.requests} requests; {dict(done)}", flush=True)

    still = replace(crew, is_moved=False)  # the control process, which moves tenants, is away at times
    verdict = storm(server, rounds, seed, seconds_max, lambda _: None, still, strike=strike, timeout=TIMEOUT_SECONDS)
    return verdict, done


def _require_refusal(name: str, lab: Lab, options: tuple[str, ...], what: object) -> None:
    """A server with a flipped bit in its folder does not start, and says where."""
    command = [sys.executable, "-m", "splinter", "serve", "--instance", name, "--transport", "xdp", "--dev", lab.server.device]
    command += ["--netns", lab.server.namespace, *options, "--fresh"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=_REFUSED_SECONDS, check=False)
    if run.returncode == 0 or "is damaged" not in run.stderr:
        raise AssertionError(f"{what} was not found: {run.stdout[-500:]} {run.stderr[-500:]}")


def arguments(prog: str, text: str | None, minutes: float) -> argparse.ArgumentParser:
    """What a script takes that works on a data folder for so many minutes by default."""
    parser = argparse.ArgumentParser(prog=prog, description=text)
    parser.add_argument("--minutes", type=float, default=minutes, help=f"end after so long, by default {minutes:g}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--folder", type=Path, help="where the data folder is made; by default with other temporary files")
    return parser


@contextlib.contextmanager
def of_script(given: argparse.Namespace, *, module: str) -> Iterator[OnDisk]:
    """What such a script works on; its seed is told first."""
    print(f"seed {given.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="splinter-storm-", dir=given.folder) as parent,
        serving_on_disk(f"t{os.getpid()}x0", Path(parent), module=module) as made,
    ):
        yield made


def main() -> int:
    parser = arguments("scripts/crash-storm", __doc__, MINUTES_DEFAULT)
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT, help=f"by default {ROUNDS_DEFAULT:,}")
    given = parser.parse_args()
    with of_script(given, module=AUDITED) as made:
        verdict, done = storm_on_disk(made, given.rounds, given.seed, given.minutes * 60)
    print(verdict)
    print(", ".join(f"{what}: {count}" for what, count in sorted(done.items())))
    print(
        "\n".join(verdict.findings)
        if verdict.findings
        else "nothing acknowledged is lost or doubled; nothing damaged was served"
    )
    return 1 if verdict.findings else 0


if __name__ == "__main__":
    sys.exit(main())
