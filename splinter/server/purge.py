"""Removing what a server left that is not there any more: what is pinned, its program on a device, its run folder."""

from __future__ import annotations

from splinter.errors import ServerError
from splinter.net.bpf.pins import PinFolder, PinsInUseError, PinsUnavailableError, instances
from splinter.server.instance import InstanceFolder, run_dir, run_root
from splinter.server.pinned import LINK_PIN, left_behind, remove


def left() -> list[str]:
    """Names of the instances of which there is anything, living servers included. Raises :class:`ServerError`."""
    root = run_root()
    folders = [entry.name for entry in root.iterdir() if entry.is_dir()] if root.is_dir() else []
    return sorted({*folders, *_pinned()})


def purge(instance: str) -> list[str]:
    """Remove all of an instance; returns words for what there was. Raises :class:`ServerError` when its server lives, or
    something cannot be removed; then what there is can be purged again."""
    removed = ["its run folder"] if run_dir(instance).is_dir() else []
    folder = InstanceFolder(instance)  # nobody can start it meanwhile
    try:
        if instance in _pinned():
            removed = [*_unpin(instance), *removed]
    finally:
        folder.remove()
    return removed


def _pinned() -> list[str]:
    try:
        return instances()
    except PinsUnavailableError as error:
        raise ServerError(f"whether a store is pinned cannot be seen, root can: {error}") from None


def _unpin(instance: str) -> list[str]:
    try:
        pins = PinFolder.take(instance)
    except PinsInUseError as error:
        raise ServerError(f"a server of instance {instance!r} is running, perhaps with another run folder: {error}") from None
    except PinsUnavailableError as error:
        raise ServerError(f"what is pinned cannot be removed: {error}") from None
    try:
        removed = ["a store"] if left_behind(pins) is not None else ["what is left of a store"]
        if LINK_PIN in pins.names():
            removed.append("its program")
        remove(pins)
    finally:
        pins.close()
    return removed
