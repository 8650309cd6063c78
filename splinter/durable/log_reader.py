"""Reading a log: groups in their order, over segments, up to where it ends, is torn, or is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from splinter.durable.files import Disk, mapped
from splinter.durable.groups import GROUP_BYTES, DamageError, Group, group_at, header_at, last_group, later_group, span
from splinter.durable.segments import Confirmed, LogFailedError, names_in


class LogReader:
    """Reads a log from a group on. After that ``number`` is that of the next group, and ``torn`` says what was cut off."""

    def __init__(
        self,
        folder: Path,
        identity: int,
        first: int,
        *,
        salvage: Callable[[DamageError], None] | None = None,
        disk: Disk | None = None,
    ) -> None:
        """``salvage``: told of each damage that is passed over; without it the first one is raised."""
        self._folder, self._identity, self._salvage = folder, identity, salvage
        self._disk = disk or Disk()
        self._confirmed = Confirmed(folder).number
        self.number = first
        self.last = max(self._confirmed, first)  # about
        self.torn = ""
        self._begins: dict[int, Path] = {}  # segments by the number of their first group
        self._sure: set[Path] = set()  # segments whose bytes come from the disk itself
        self._data: dict[Path, np.ndarray] = {}
        for path in names_in(folder, ".log"):
            data = self._data[path] = mapped(path)
            header = header_at(data, 0, identity)
            if header is not None:
                self._begins[int(header["number"])] = path

    def __iter__(self) -> Iterator[Group]:
        """The groups in order. Raises :class:`DamageError`, and :class:`LogFailedError` when the disk fails."""
        found = self._start()
        while found is not None:
            path, place = found
            group = group_at(self._data[path], place, self._identity)
            if group is not None and self.number > self._confirmed and path not in self._sure:
                self._make_sure(path)
            elif group is not None and group.number == self.number:
                self.number += 1
                yield group
                found = self._following(path, place + span(len(group.payload)))
            else:
                found = self._broken(path, place)

    def _make_sure(self, path: Path) -> None:
        """Have what the kernel knows of a segment on the disk, and go on with what the disk has."""
        try:
            descriptor = self._disk.open(path)
            try:
                self._disk.sync(descriptor)
            finally:
                self._disk.close(descriptor)
            self._data[path] = self._disk.read_directly(path, len(self._data[path]))
        except OSError as error:
            raise LogFailedError(f"{path} cannot be read from its disk: {error.strerror}") from error
        self._sure.add(path)

    def _start(self) -> tuple[Path, int] | None:
        """Where the first group stands, or should."""
        before = [number for number in self._begins if number <= self.number]
        if not before:
            if self._begins or self._confirmed >= self.number:
                return self._missing(self._folder / "", 0)
            return None
        path, place = self._begins[max(before)], 0
        behind = last_group(self._data[path], self._identity, max(before), self.number)
        if behind is not None:
            header = header_at(self._data[path], behind, self._identity)
            assert header is not None
            place = behind + span(int(header["bytes"]))
        return self._following(path, place)

    def _following(self, path: Path, place: int) -> tuple[Path, int]:
        """Where the group ``number`` stands: at the head of a segment, if there is one that begins with it, else here."""
        return (self._begins[self.number], 0) if self.number in self._begins else (path, place)

    def _broken(self, path: Path, place: int) -> tuple[Path, int] | None:
        """There is no whole group ``number`` where it should be: this is the end, or damage. Returns where to go on."""
        data = self._data[path]
        later = later_group(data, place, self._identity, self.number)
        if later is None and (behind := self._behind_unknown()):
            path, later = behind
            place = 0
        elsewhere = [number for number in self._begins if number > self.number]
        if later is None and not elsewhere and self._confirmed < self.number:
            if header_at(data, place, self._identity) is not None or bool(self._unknown()):
                self.torn = f"group {self.number} of the log, of which {path.name} has nothing whole from byte {place} on"
            return None
        self._tell(DamageError(path, place, f"group {self.number} of the log is not what was written there"))
        if later is not None:
            header = header_at(self._data[path], later, self._identity)
            assert header is not None
            self.number = int(header["number"])
            return path, later
        return self._missing(path, place, is_told=True)

    def _unknown(self) -> list[Path]:
        """Segments that begin with something that is no group: a new one begins with zeros."""
        listed = set(self._begins.values())
        return [path for path, data in self._data.items() if path not in listed and np.any(data[:GROUP_BYTES])]

    def _behind_unknown(self) -> tuple[Path, int] | None:
        """The first group that is later, in a segment whose own beginning is damaged; None: there is none."""
        found = [
            (int(header["number"]), path, at)
            for path in self._data.keys() - set(self._begins.values())
            if (at := later_group(self._data[path], 0, self._identity, self.number)) is not None
            and (header := header_at(self._data[path], at, self._identity)) is not None
        ]
        if not found or min(self._begins.keys() - set(range(self.number + 1)), default=1 << 64) < min(found)[0]:
            return None
        return min(found)[1:]

    def _missing(self, path: Path, place: int, *, is_told: bool = False) -> tuple[Path, int] | None:
        if not is_told:
            unknown = self._unknown()
            what = (
                "it does not begin with a group of the log" if unknown else f"the segment with group {self.number} is missing"
            )
            self._tell(DamageError(unknown[0] if unknown else path, place, what))
        later = [number for number in self._begins if number > self.number]
        if not later:
            self.number = max(self.number, self._confirmed + 1)
            return None
        self.number = min(later)
        return self._begins[self.number], 0

    def _tell(self, damage: DamageError) -> None:
        if self._salvage is None:
            raise damage
        self._salvage(damage)


def next_group(folder: Path, identity: int, first: int, disk: Disk) -> int:
    """The number with which a log goes on that has been forgotten up to ``first``: greater than that of any group which is
    whole on the disk.

    Such a group may have been acknowledged, whatever ``confirmed`` says: a writer may have died before it could say so, and
    that file may be damaged, missing, or older than the log. A number that is given out twice would hide the group. Raises as
    :class:`LogReader`.
    """
    log = LogReader(folder, identity, max(first, Confirmed(folder).number + 1), disk=disk)
    for _ in log:
        pass
    return log.number
