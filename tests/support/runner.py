"""Run compiled extensions in this process against a :class:`LocalStore`: what tests compare.

The worker's part in small: it fills the frame, resumes until the task is done, and supplies helpers, here as callbacks into
Python. It is no isolation: a bug in the compiler crashes this process.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import numpy as np

from splinter.ext import abi
from splinter.ext.abi import ExtensionError, ResultKind
from splinter.ext.author import Store
from splinter.ext.compile import CompiledExtension
from splinter.ext.faults import ExtensionFault
from splinter.ext.native.code import CodeRegion
from splinter.ext.python.local import LocalStore
from splinter.ext.views import View
from splinter.layout import view
from splinter.limits import CODE_BYTES_MAX, FRAME_BYTES, TASK_BUDGET

_I64 = ctypes.c_int64
_RESUME = ctypes.CFUNCTYPE(_I64, _I64, _I64)
_GET = ctypes.CFUNCTYPE(_I64, *[_I64] * 5)
_PUT = ctypes.CFUNCTYPE(_I64, *[_I64] * 7)
_ADD = ctypes.CFUNCTYPE(_I64, *[_I64] * 6)
_PUT_IF_TTL = ctypes.CFUNCTYPE(_I64, *[_I64] * 9)
_NOW = ctypes.CFUNCTYPE(_I64, *[_I64] * 2)
_LOG = ctypes.CFUNCTYPE(_I64, *[_I64] * 4)
_libm = ctypes.CDLL("libm.so.6")
_PUT_IF = ctypes.CFUNCTYPE(_I64, *[_I64] * 8)
_NEW_FRAME = np.zeros(1, abi.FRAME.dtype)
_RESUMES_MAX = 100_000  # of one run: here it is the only limit, there is no clock


def _float(bits: int) -> float:
    """A float by its bits."""
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])


class Runner:
    """Holds the code region, one frame and the context. Use as a context manager, or call :meth:`close`."""

    def __init__(self, store: LocalStore | None = None, budget: int = TASK_BUDGET) -> None:
        self.store = store if store is not None else LocalStore()
        self.budget = budget
        self.task: Store = self.store  # as the running task has it
        self.resumes = 0  # of the last task
        self.resumes_max = _RESUMES_MAX
        self._region = CodeRegion.create(CODE_BYTES_MAX)
        self._memory = ctypes.create_string_buffer(FRAME_BYTES + 64)
        self._frame_address = ctypes.addressof(self._memory) + 63 & ~63
        raw = (ctypes.c_char * FRAME_BYTES).from_address(self._frame_address)
        self._frame = view(raw, abi.FRAME.dtype)
        self._context = np.zeros(1, abi.CONTEXT.dtype)
        self._helpers = {
            "get": _GET(self._get), "put": _PUT(self._put), "delete": _GET(self._delete), "put_if": _PUT_IF(self._put_if),
            "now_ns": _NOW(self._now), "log": _LOG(self._log), "add": _ADD(self._add), "delete_if": _ADD(self._delete_if),
            "put_ttl": _PUT_IF(self._put_ttl), "put_if_ttl": _PUT_IF_TTL(self._put_if_ttl), "expire": _ADD(self._expire),
            "persist": _GET(self._persist), "ttl": _GET(self._ttl),
        }  # fmt: skip
        for name, helper in self._helpers.items():
            self._context[name] = ctypes.cast(helper, ctypes.c_void_p).value
        self._context["exp"] = ctypes.cast(_libm.exp, ctypes.c_void_p).value
        self._context["log_e"] = ctypes.cast(_libm.log, ctypes.c_void_p).value
        self._context_address = self._context.ctypes.data
        self._kept: list[Any] = []  # memory that views of the running task point to
        self._failure: BaseException | None = None

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._region.close()

    def run(self, compiled: CompiledExtension, /, *args: Any, **kwargs: Any) -> Any:
        """Run a task to its end; the result as a Python value. Raises :class:`ExtensionFault` for errors inside."""
        return self.run_packed(compiled, compiled.signature.pack(args, kwargs))

    def run_packed(self, compiled: CompiledExtension, arguments: bytes) -> Any:
        """The same with packed arguments, which need not be well-formed."""
        address, offset = self._region.write(compiled.code)
        try:
            return self.run_at(address, compiled, arguments)
        finally:
            self._region.free(offset)

    def run_at(self, address: int, compiled: CompiledExtension, arguments: bytes) -> Any:
        """The same for code that lies at an address already."""
        while True:
            self.task = self.store.begin(compiled.isolation)
            is_done = False
            try:
                result = self._run(compiled, address + compiled.entry, arguments)
                is_done = True
            finally:
                is_valid = self.task.end(is_done)
                self._kept.clear()
            if is_valid:
                return result

    def _run(self, compiled: CompiledExtension, address: int, arguments: bytes) -> Any:
        frame = self._frame
        frame[:] = _NEW_FRAME
        frame["tenant"] = self.store.tenant_id
        frame["arguments"], frame["arguments_length"] = self._keep(arguments), len(arguments)
        self.started(compiled)
        code = abi.RESUME_YIELD
        self.resumes = 0
        while code == abi.RESUME_YIELD:
            if self.resumes > self.resumes_max:
                raise ExtensionFault(ExtensionError.BUDGET, compiled.name, int(frame["line"][0]))
            self.resumes += 1
            frame["budget"] = self.budget
            code = self._resume(address)
            self.resumed()
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
        if code == abi.RESUME_ERROR:
            error, line = ExtensionError(int(frame["error"][0])), int(frame["line"][0])
            raised = int(frame["result"][0]) if error == ExtensionError.RAISED else 0
            raise ExtensionFault(error, compiled.name, line, raised)
        return compiled.signature.unpack(self._result(compiled.result_kind))

    def _resume(self, address: int) -> int:
        return int(_RESUME(address)(self._frame_address, self._context_address))

    def started(self, compiled: CompiledExtension) -> None:
        """Called when the frame of a new task is filled, for those who want to look at it or to change the rest of it."""

    def resumed(self) -> None:
        """The same after each resume."""

    def _result(self, kind: ResultKind) -> bytes:
        word = int(self._frame["result"][0])
        if kind == ResultKind.BYTES:
            return ctypes.string_at(word, int(self._frame["result_length"][0]))
        return word.to_bytes(8, "little") if kind == ResultKind.SCALAR else b""

    def _keep(self, content: bytes) -> int:
        buffer = ctypes.create_string_buffer(content, max(len(content), 1))
        self._kept.append(buffer)
        return ctypes.addressof(buffer)

    # --- helpers: what the worker's compiled ones do, over the LocalStore ---------------------------------------------

    def _guard(self, action: Any) -> int:
        """Errors of the store become negative results; anything else must not unwind through compiled code."""
        try:
            return int(action())
        except ExtensionFault as fault:
            return -int(fault.error)
        except BaseException as failure:
            self._failure = failure
            return -int(ExtensionError.BUSY)

    def _get(self, context: int, frame: int, table: int, key: int, key_length: int) -> int:
        def action() -> int:
            found = self.task.get(table, ctypes.string_at(key, key_length))
            if found is None:
                self._frame["out_address"] = self._frame["out_length"] = self._frame["out_version"] = 0
                return 0
            self._frame["out_address"], self._frame["out_length"] = self._keep(bytes(found)), len(found)
            self._frame["out_version"] = self.task.version(table, ctypes.string_at(key, key_length))
            return 1

        return self._guard(action)

    def _put(self, context: int, frame: int, table: int, key: int, key_length: int, value: int, length: int) -> int:
        def action() -> int:
            self.task.put(table, ctypes.string_at(key, key_length), View(ctypes.string_at(value, length)))
            return 0

        return self._guard(action)

    def _delete(self, context: int, frame: int, table: int, key: int, key_length: int) -> int:
        return self._guard(lambda: self.task.delete(table, ctypes.string_at(key, key_length)))

    def _put_if(
        self, context: int, frame: int, table: int, key: int, key_length: int, value: int, length: int, version: int
    ) -> int:
        def action() -> bool:
            content = View(ctypes.string_at(value, length))
            return self.task.put_if(table, ctypes.string_at(key, key_length), content, version & 0xFFFFFFFFFFFFFFFF)

        return self._guard(action)

    def _add(self, context: int, frame: int, table: int, key: int, key_length: int, n: int) -> int:
        def action() -> int:
            self._frame["out_version"] = self.task.add(table, ctypes.string_at(key, key_length), n)
            return 0

        return self._guard(action)

    def _delete_if(self, context: int, frame: int, table: int, key: int, key_length: int, version: int) -> int:
        wanted = version & 0xFFFFFFFFFFFFFFFF
        return self._guard(lambda: self.task.delete(table, ctypes.string_at(key, key_length), wanted))

    def _put_ttl(
        self, context: int, frame: int, table: int, key: int, key_length: int, value: int, length: int, ttl: int
    ) -> int:
        def action() -> int:
            content = View(ctypes.string_at(value, length))
            self.task.put(table, ctypes.string_at(key, key_length), content, _float(ttl))
            return 0

        return self._guard(action)

    def _put_if_ttl(
        self, context: int, frame: int, table: int, key: int, key_length: int, value: int, length: int, version: int, ttl: int
    ) -> int:
        def action() -> bool:
            content, wanted = View(ctypes.string_at(value, length)), version & 0xFFFFFFFFFFFFFFFF
            return self.task.put_if(table, ctypes.string_at(key, key_length), content, wanted, _float(ttl))

        return self._guard(action)

    def _expire(self, context: int, frame: int, table: int, key: int, key_length: int, ttl: int) -> int:
        return self._guard(lambda: self.task.expire(table, ctypes.string_at(key, key_length), _float(ttl)))

    def _persist(self, context: int, frame: int, table: int, key: int, key_length: int) -> int:
        return self._guard(lambda: self.task.persist(table, ctypes.string_at(key, key_length)))

    def _ttl(self, context: int, frame: int, table: int, key: int, key_length: int) -> int:
        def action() -> int:
            left = self.task.ttl(table, ctypes.string_at(key, key_length))
            self._frame["out_version"] = int.from_bytes(struct.pack("<d", left), "little")
            return 0

        return self._guard(action)

    def _now(self, context: int, frame: int) -> int:
        return self._guard(self.task.now_ns)

    def _log(self, context: int, frame: int, text: int, length: int) -> int:
        def action() -> int:
            self.task.log(ctypes.string_at(text, length))
            return 0

        return self._guard(action)
