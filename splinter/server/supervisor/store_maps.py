"""The BPF maps that hold all of a store, made or found again; what the kernel keeps of a server whose processes are gone.

The supervisor is the only writer of pins. They are written in this order, and removed in the opposite one:

======================= =====================================================================================================
pinned, in turn         what a later start makes of it, if this one died behind it
======================= =====================================================================================================
nothing, the folder     an empty folder is used, a folder without a complete record emptied: nobody was served
``layout``, incomplete  the same
every map of the store  the same
``layout``, complete    a whole, empty store: attached
``link``                the program is on the device: its successor takes its place by BPF_LINK_UPDATE
======================= =====================================================================================================

A record that is complete beside a map that is missing, or of another form, was tampered with: the start is refused.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from splinter import limits
from splinter.errors import ServerError
from splinter.native.addresses import Stretch, are_there
from splinter.net import tier
from splinter.net.bpf import maps
from splinter.net.bpf.maps import Kind, MapForm
from splinter.net.bpf.pins import PinFolder, PinsInUseError, PinsUnavailableError, instances
from splinter.net.bpf.syscall import closed
from splinter.net.tenants import RATE_BYTES, TENANT
from splinter.net.xdp.verdicts import Verdict
from splinter.server.config import ServerConfig
from splinter.server.pinned import LAYOUT_FORM, LAYOUT_PIN, LINK_PIN, discard, left_behind, remove
from splinter.server.supervisor.layout_record import objection_to, record_of
from splinter.store.account_layout import ACCOUNT
from splinter.store.log import LogRings
from splinter.store.region import Region
from splinter.store.store import Store

logger = logging.getLogger(__name__)

CODE = "code_pages"
LOG = "store_log"  # rings of the change log, where there is a data folder
_NO_PREALLOC = 1  # flag of a hash: an element takes memory when it is there
_STRETCHES = {
    "store_index": Stretch.INDEX,
    "store_slabs": Stretch.SLABS,
    "tenants": Stretch.TENANTS,
    "accounts": Stretch.ACCOUNTS,
    "store_state": Stretch.STATE,
    "cpu_epochs": Stretch.CPU_EPOCHS,
    LOG: Stretch.LOG,
}
_DYING_SECONDS_MAX = 5.0  # until the processes of a server that was killed are gone: taking 64 GiB apart takes some
_DYING_POLL_SECONDS = 0.01
_FREEING_SECONDS_MAX = 5.0  # until the memory of a store that was removed is free
_WRITE_TRIES_MAX = 100  # of a page of code: an allocator in the kernel may have to be refilled first


def forms(memory_bytes: int) -> dict[str, MapForm]:
    """The maps of a store of this size, by name."""
    buckets, slabs = Store.plan(memory_bytes)
    return {
        "store_index": MapForm.shared(limits.BUCKET_BYTES, buckets),
        "store_slabs": MapForm.shared(limits.SLAB_BYTES, slabs),
        "tenants": MapForm.shared(TENANT.itemsize, limits.TENANTS_MAX),
        "rates": MapForm.shared(RATE_BYTES, limits.TENANTS_MAX),
        "accounts": MapForm.shared(ACCOUNT.itemsize, limits.TENANTS_MAX),
        "store_state": MapForm.shared(Store.state_bytes(memory_bytes), 1),
        **tier.forms(),
        "counters": MapForm(Kind.PERCPU_ARRAY, 8, len(Verdict)),
        CODE: MapForm(Kind.HASH, mmap.PAGESIZE, limits.CODE_REGION_BYTES // mmap.PAGESIZE, _NO_PREALLOC),
    }


def forms_of(config: ServerConfig) -> dict[str, MapForm]:
    """The maps of a server's store."""
    log = {LOG: MapForm.shared(LogRings.bytes_for(len(config.cores)), 1)} if config.data is not None else {}
    return {**forms(config.memory_bytes), **log}


_SAMPLE = forms(limits.STORE_BYTES_MIN)  # what a store's layout is told by


class CodePages:
    """A copy of the pages of the code region that have code, for a later start: pinned memory cannot be executed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, page: int, content: bytes) -> None:
        """Keep a page, one memory page long. Raises :class:`OSError` when there is no memory for it."""
        for tries_left in reversed(range(_WRITE_TRIES_MAX)):
            try:
                maps.update(self._descriptor, page, content)
                return
            except OSError as error:
                if error.errno != errno.ENOMEM or not tries_left:
                    raise
            time.sleep(0)

    def pages(self) -> Iterator[tuple[int, bytes]]:
        """All that are kept, with their numbers."""
        for key in maps.keys(self._descriptor):
            yield key, maps.lookup(self._descriptor, key, mmap.PAGESIZE)

    def close(self) -> None:
        """Give up the means of writing. Again: nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass
class StoreMaps:
    """The maps of one server's store. ``pins`` is None where they end with the server's last process."""

    config: ServerConfig
    descriptors: dict[str, int]
    pins: PinFolder | None
    is_attached: bool  # they hold the store that another server left
    is_fixed: bool  # they are mapped at addresses of their own
    has_served: bool = False  # somebody may have been told that something is kept. Set by the supervisor
    _regions: dict[str, Region] = field(default_factory=dict)

    @classmethod
    def open(cls, config: ServerConfig, before_making: Callable[[], None] = lambda: None) -> Self:
        """Find the maps of the instance, or do what comes ``before_making`` new ones, to be pinned where that can be.

        Raises :class:`ServerError` when what is pinned is another kind of store, or damaged, and ``config.fresh`` does not say
        to begin anew; :class:`OSError` for want of memory.
        """
        pins = _take_pins(config.instance)
        try:
            patience = 0.0
            if pins is not None and config.fresh:
                patience = _FREEING_SECONDS_MAX if pins.names() else 0.0
                discard(pins)
            if pins is not None and (found := _attach(config, pins)) is not None:
                return cls(config, found, pins, is_attached=True, is_fixed=True)
        except OSError as error:
            assert pins is not None
            _let_go(pins)
            raise ServerError(f"what is pinned in {pins.path} cannot be used: {error.strerror}") from error
        except BaseException:
            _let_go(pins)
            raise
        try:
            _try_for(patience, before_making)
            return cls(config, _make(config), pins, is_attached=False, is_fixed=pins is not None)
        except BaseException:
            _let_go(pins)
            raise

    def pin(self) -> None:
        """Pin the maps of a new store that is whole. Where that cannot be, say so, and go on without."""
        if self.pins is None or self.is_attached or self.has_served:
            return
        try:
            with closed(LAYOUT_FORM.make(LAYOUT_PIN)) as layout:
                maps.update(layout, 0, record_of(self.config, _SAMPLE, is_complete=False))
                self.pins.pin(LAYOUT_PIN, layout)
                for name, descriptor in self.descriptors.items():
                    self.pins.pin(name, descriptor)
                maps.update(layout, 0, record_of(self.config, _SAMPLE, is_complete=True))
        except OSError as error:
            _say_unpinned(f"{self.pins.path}: {error.strerror}")
            with contextlib.suppress(OSError):
                discard(self.pins)
            self.pins.close()
            self.pins = None

    def link_left(self) -> int | None:
        """A descriptor of the link that an earlier server left; None when there is none."""
        if self.pins is None or not self.is_attached or LINK_PIN not in self.pins.names():
            return None
        return self.pins.open(LINK_PIN)

    def pin_link(self, descriptor: int | None) -> None:
        """Have the link outlive the processes with the store."""
        if self.pins is None or descriptor is None:
            return
        try:
            self.pins.pin(LINK_PIN, descriptor)
        except OSError as error:
            logger.warning("the program ends with this server's processes, the store does not: %s", error.strerror)

    def region(self, name: str) -> Region:
        """The memory of a map, at its fixed address if it has one."""
        if name not in self._regions:
            size = forms_of(self.config)[name].mapped_bytes
            stretch = _STRETCHES.get(name) if self.is_fixed else None
            self._regions[name] = Region.from_fd(self.descriptors[name], size, stretch)
        return self._regions[name]

    def store(self) -> Store:
        """The store in them: a new one, or what was left, put right."""
        if self.is_attached:
            return Store.attach(
                index=self.region("store_index"), slabs=self.region("store_slabs"), tenants=self.region("tenants"),
                accounts=self.region("accounts"), state=self.region("store_state"),
                log=self.region(LOG) if self.config.data is not None else None,
            )  # fmt: skip
        return Store.create(
            self.config.memory_bytes, index_region=self.region("store_index"), slabs_region=self.region("store_slabs"),
            tenants_region=self.region("tenants"), accounts_region=self.region("accounts"),
            state_region=self.region("store_state"),
        )  # fmt: skip

    def code_pages(self) -> CodePages:
        """The copy of the machine code."""
        return CodePages(self.descriptors[CODE])

    def stays(self, *, ended_well: bool) -> bool:
        """Whether the store is there for the next start: after all that is no clean stop, if anybody was served from it."""
        is_worth_it = self.is_attached or self.has_served
        return self.pins is not None and is_worth_it and (self.config.keep_store or not ended_well)

    def close(self, *, forget: bool) -> None:
        """Let go of the pins; ``forget``: nothing of it is to outlive the processes. Again: nothing."""
        if self.pins is not None:
            try:
                if forget:
                    discard(self.pins)
                    self.pins.remove()
            except OSError as error:
                logger.warning("what is pinned in %s is still there (%s): splinter purge", self.pins.path, error.strerror)
            self.pins.close()
            self.pins = None


def look_behind(config: ServerConfig) -> None:
    """For a transport without maps: raise :class:`ServerError` when an earlier server left a store, which this one would not
    serve. With ``config.fresh`` it is removed, and so is what is no whole store."""
    try:
        if config.instance not in instances():
            return
        pins = PinFolder.take(config.instance)
    except PinsUnavailableError:  # what this user may not see is none of its servers'
        return
    try:
        if not config.fresh and left_behind(pins) is not None:
            raise ServerError(
                f"a server of instance {config.instance!r} left a store, which only '--transport xdp' goes on with: --fresh "
                f"begins with an empty store in its place, 'splinter purge' removes it"
            )
        remove(pins)
    finally:
        pins.close()


def _let_go(pins: PinFolder | None) -> None:
    """Close, at a start that failed; a folder in which nothing is pinned goes."""
    if pins is not None:
        with contextlib.suppress(OSError):
            if not pins.names():
                pins.remove()
        pins.close()


def _take_pins(instance: str) -> PinFolder | None:
    deadline = time.monotonic() + _DYING_SECONDS_MAX
    if not are_there():
        _say_unpinned("this kernel gives processes no addresses as high as a store that is attached again needs")
        return None
    while True:
        try:
            return PinFolder.take(instance)
        except PinsInUseError as error:
            if time.monotonic() > deadline:
                _say_unpinned(str(error))
                return None
        except PinsUnavailableError as error:
            _say_unpinned(str(error))
            return None
        time.sleep(_DYING_POLL_SECONDS)


def _try_for(seconds: float, what: Callable[[], None]) -> None:
    """Do something that may fail until memory is free that the kernel is just taking back."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return what()
        except ServerError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_DYING_POLL_SECONDS)


def _say_unpinned(reason: str) -> None:
    print(f"the store ends with this server's processes, as it cannot be pinned: {reason}")


def _attach(config: ServerConfig, pins: PinFolder) -> dict[str, int] | None:
    """Descriptors of the maps that were left; None when there is no whole store, and then nothing at all."""
    record = left_behind(pins)
    if record is None:
        discard(pins)
        return None
    if objection := objection_to(record, config, _SAMPLE):
        raise ServerError(
            f"a server of instance {config.instance!r} left a store, and this one cannot go on with it: {objection}. "
            f"'splinter serve --fresh' begins with an empty store in its place, 'splinter purge' removes it"
        )
    descriptors: dict[str, int] = {}
    for name, form in forms_of(config).items():
        try:
            descriptors[name] = pins.open(name)
            is_whole = maps.form_of(descriptors[name]) == form
        except FileNotFoundError:
            is_whole = False
        if not is_whole:
            for descriptor in descriptors.values():
                os.close(descriptor)
            raise ServerError(
                f"the store that a server of instance {config.instance!r} left is damaged ({pins.path / name} is missing or "
                f"another): 'splinter serve --fresh' begins with an empty store in its place, 'splinter purge' removes it"
            )
    return descriptors


def _make(config: ServerConfig) -> dict[str, int]:
    made: dict[str, int] = {}
    try:
        for name, form in forms_of(config).items():
            made[name] = form.make(name)
    except BaseException:
        for descriptor in made.values():
            os.close(descriptor)
        raise
    return made
