"""The server's XDP program, ``bpf/splinter.c``: authenticates requests and steers them to the tenant's home core."""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping

from splinter import limits
from splinter.errors import ServerError
from splinter.net import tier
from splinter.net.bpf import BpfRefusedError, Kind, MapForm, maps
from splinter.net.depths import DEPTH
from splinter.net.place import USUAL, Place, usual_of
from splinter.net.tenants import RATE, TENANT
from splinter.net.xdp.extensions import ExtensionPrograms
from splinter.net.xdp.program import Program
from splinter.net.xdp.verdicts import Verdict

_PLACES = ("addresses", "macs")
_TIER_MAPS = ("accounts", "store_state")
_TIER_MACHINES = ("x86_64",)  # the order of loads and stores that bpf/epoch.h relies on


class XdpProgram(Program):
    """Compile and load the program for a device of the current network namespace.

    :param port: UDP port that is ours.
    :param cores: number of workers; each has one socket per queue.
    :param queues: RX queues that the device may have.
    :param tenants_max: size of the tenants' table; ids are below it.
    :param index_buckets: buckets of the store's index, 64 bytes each.
    :param slabs: slabs of the store, 128 KiB each. Their memory is taken at once.
    :param locality: steer to the tenant's home core; otherwise to any, by chance.
    :param steer_away: packets that wait for the home core from which on the core with the fewest gets more; 0: never.
    :param given: descriptors of maps that are there already, by name. The program answers gets by itself, in its *tier*, if
        ``accounts``, ``store_state`` and :func:`splinter.net.tier.forms` are among them, and the kernel accepts that;
        :attr:`tier_off` says why not.
    :param durable: tenants may ask that nothing is told that is not on the disk.
    :param tier_off: why it is not to do so; empty: it is to.

    Nothing is taken before :meth:`serve_at` has said at which addresses.

    Maps, by name: ``tenants``, ``rates``, ``depths``, ``store_index``, ``store_slabs`` (arrays that can
    be mapped, of :meth:`map_bytes`), ``xsks``, ``counters``.
    """

    def __init__(
        self,
        ifname: str,
        *,
        port: int,
        cores: int,
        queues: int,
        tenants_max: int = limits.TENANTS_MAX,
        index_buckets: int,
        slabs: int,
        locality: bool = True,
        steer_away: int = 0,
        given: Mapping[str, int] | None = None,
        tier_off: str = "",
        durable: bool = False,
    ) -> None:
        self.cores = cores
        self.queues = queues
        forms = {
            "tenants": MapForm.shared(TENANT.itemsize, tenants_max),
            "rates": MapForm.shared(RATE.itemsize, tenants_max),
            "depths": MapForm.shared(DEPTH.itemsize, cores),
            "store_index": MapForm.shared(limits.BUCKET_BYTES, index_buckets),
            "store_slabs": MapForm.shared(limits.SLAB_BYTES, slabs),
            "xsks": MapForm(Kind.XSKMAP, 4, cores * queues),
            "counters": MapForm(Kind.PERCPU_ARRAY, 8, len(Verdict)),
            "addresses": MapForm(Kind.HASH, 4, limits.DEVICE_ADDRESSES_MAX),
            "macs": MapForm(Kind.HASH, 4, limits.DEVICE_ADDRESSES_MAX, key_bytes=8),
            "usual": MapForm(Kind.ARRAY, USUAL.itemsize, 1),
        }
        defines = {
            "PORT": port,
            "CORES": cores,
            "LOCALITY": int(locality),
            "STEER_AWAY": steer_away,
            "DURABLE": int(durable),
        }
        self._defines = defines
        self.tier_off = tier_off or _obstacle_to_tier(given or {})
        """Why the program answers nothing by itself; empty: it does."""
        super().__init__(ifname, "splinter.c", "splinter", defines, forms, given)
        maps.update(self.map_fd("usual"), 0, usual_of((), ()))
        self._places: dict[str, dict[bytes, int]] = {name: {} for name in _PLACES}
        self._cpus = maps.possible_cpus()

    def _load(self, source: str, function: str, defines: Mapping[str, object]) -> int:
        if not self.tier_off:
            try:
                return super()._load(source, function, {**defines, "TIER": 1})
            except BpfRefusedError as error:
                self.tier_off = f"{error}"
        return super()._load(source, function, {**defines, "TIER": 0})

    def extension_programs(self) -> ExtensionPrograms | None:
        """What puts extensions' programs beside this one, in its tier; None: it has none. Raises as the constructor."""
        return None if self.tier_off else ExtensionPrograms(self._map_fds, self._defines)

    def serve_at(self, place: Place) -> None:
        """Take what goes to one of these addresses, and nothing else; what was served before and still is is not interrupted.

        Raises :class:`~splinter.errors.ServerError` when there are too many.
        """
        wanted = {"addresses": place.address_keys(), "macs": place.mac_keys()}
        if any(len(keys) > limits.DEVICE_ADDRESSES_MAX for keys in wanted.values()):
            raise ServerError(
                f"{self.ifname} has more than {limits.DEVICE_ADDRESSES_MAX} addresses: name the one to serve with --address"
            )
        maps.update(self.map_fd("usual"), 0, usual_of((), ()))  # may be none of them any more
        for name, keys in wanted.items():
            fd, present = self.map_fd(name), self._places[name]
            for key in [key for key in present if key not in keys]:
                maps.delete(fd, key)
            for key, kind in keys.items():
                if present.get(key) != kind:
                    maps.update(fd, key, kind.to_bytes(4, "little"))
            self._places[name] = keys
        maps.update(self.map_fd("usual"), 0, usual_of(place.own_keys(), place.mac_keys()))

    def set_socket(self, queue: int, core: int, fd: int) -> None:
        """Steer requests for tenants of ``core`` that come in by ``queue`` to an AF_XDP socket bound to that queue."""
        self._set_socket(queue * self.cores + core, fd)

    def clear_socket(self, queue: int, core: int) -> None:
        """Drop such requests from now on (counted as ``no_socket``). No error when there is no socket."""
        self._clear_socket(queue * self.cores + core)

    def counters(self) -> dict[str, int]:
        """Packets by verdict since the program was loaded: the names of :class:`Verdict` in lower case."""
        cells = struct.Struct(f"<{self._cpus}Q")
        fd = self.map_fd("counters")
        return {verdict.name.lower(): sum(cells.unpack(maps.lookup(fd, verdict, cells.size))) for verdict in Verdict}


def _obstacle_to_tier(given: Mapping[str, int]) -> str:
    if platform.machine() not in _TIER_MACHINES:
        return f"it is made for {', '.join(_TIER_MACHINES)}"
    if not {*_TIER_MAPS, *tier.forms(1)} <= set(given):
        return "the store is not in maps"
    return ""
