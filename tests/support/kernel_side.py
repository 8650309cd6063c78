"""The library's checks in three worlds: CPython and compiled code agree elsewhere, and here the kernel with them."""

from __future__ import annotations

import collections
import functools
from typing import Any

from splinter.errors import ExtensionRuntimeError
from splinter.ext import LocalStore
from splinter.ext.abi import MAY_WRITE
from splinter.ext.compile import CompiledExtension, compile_source
from splinter.limits import TASK_BUDGET
from tests.property.hostile.in_child import in_child
from tests.support.kernel_world import KernelWorld
from tests.support.library import SOURCES, NativeSide


@functools.cache
def for_kernel(source: str) -> CompiledExtension:
    """Compiled in a child, which LLVM may end."""
    return in_child(lambda note: compile_source(source, kernel=True))


class KernelSide(NativeSide):
    """Compiled code in this process; what only reads runs in the kernel as well, and gives the same, or is left to a worker."""

    def __init__(self, world: KernelWorld) -> None:
        super().__init__(TASK_BUDGET)
        self.world = world
        self.answered: collections.Counter[str] = collections.Counter()  # by the kernel, by name
        self.left: collections.Counter[str] = collections.Counter()
        self._copied: dict[tuple[int, bytes], bytes] = {}
        self._installed = ""

    def invoke(self, name: str, *args: Any) -> Any:
        return self.run(name, SOURCES[name], *args)

    def run(self, name: str, source: str, *args: Any) -> Any:
        """Invoke in all worlds; the result."""
        compiled = for_kernel(source)
        if compiled.isolation & MAY_WRITE or not compiled.kernel.object_file:
            return self.runner.run(compiled, *args)
        self._copy(self.store)
        if self._installed != name:
            assert self.world.install(compiled) == ""
            self._installed = name
        told = self.world.invoke(compiled, *args)
        (self.left if told is None else self.answered)[name] += 1
        try:
            result = self.runner.run(compiled, *args)
        except ExtensionRuntimeError:
            assert told is None, "the kernel has a result in place of an error"
            raise
        assert told is None or told == [result], f"{name}{args}: {told} in place of {result!r}"
        return result

    def _copy(self, store: LocalStore) -> None:
        """Make the kernel's store the same."""
        changed = {place: value for place, value in store.objects.items() if self._copied.get(place) != value}
        self.world.put(changed)
        for table, key in self._copied.keys() - store.objects.keys():
            self.world.delete(table, key)
        self._copied = dict(store.objects)
