"""What the workers ask for their connections of the Redis protocol: FUNCTION, and the extension that stands for a script.

Each worker has a channel of messages. What it asks is done as the tenant's request of the control plane would be, by the token
that the connection has shown; the reply goes back in pieces, as the client gets it. See :mod:`splinter.worker.resp.asks`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import logging
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from splinter import limits
from splinter.errors import BusyError, CompileError, QuotaExceededError, SplinterError
from splinter.ext import library
from splinter.server.control.redis_replies import Fields, Line, Value, encode
from splinter.worker.resp.layout import ANSWER, ANSWER_BYTES, ANSWER_LOST, ASK, ASK_BYTES

_log = logging.getLogger(__name__)
_LENGTH = struct.Struct("<I")
_PIECE_BYTES = limits.RESP_RECEIVE_BYTES - ANSWER_BYTES
_PER_TENANT = 8  # that are under way for a tenant
_ENGINE = "PYTHON"
_SCRIPTS = "redis_scripts"
_Run = Callable[[dict[Any, Any]], Awaitable[dict[str, Any]]]


class _Refused(Exception):
    """Replied as an error line, in these words."""


class RedisFunctions:
    """Answers what comes by ``channels``; ``run`` does an operation of the control plane."""

    def __init__(self, channels: Sequence[socket.socket], run: _Run) -> None:
        self._channels, self._run = channels, run
        self._asked: Counter[int] = Counter()  # by tenant
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Answer until cancelled. Who has asked a predecessor is told that it is gone."""
        try:
            async with asyncio.TaskGroup() as group:
                for channel in self._channels:
                    group.create_task(self._serve(channel))
        finally:
            for task in self._tasks:
                task.cancel()

    async def _serve(self, channel: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await self._send(channel, ANSWER_LOST, 0, b"")
        while True:
            message = await loop.sock_recv(channel, ASK_BYTES + limits.SOURCE_BYTES_MAX + limits.RESP_RECEIVE_BYTES)
            if not message:
                return  # the server ends
            task = asyncio.create_task(self._answer(channel, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, channel: socket.socket, message: bytes) -> None:
        asked = np.frombuffer(message, ASK, 1)[0]
        number, connection, tenant = int(asked["number"]), int(asked["connection"]), int(asked["tenant"])
        words = _words(message[ASK_BYTES:], int(asked["count"]))
        proof = {"tenant": tenant, "token": int(asked["token"])}
        self._asked[tenant] += 1
        try:
            if self._asked[tenant] > _PER_TENANT:
                raise BusyError("too much of this tenant is under way; try again")
            reply = await self._do(words, proof)
            text = None if reply is None else encode(reply, int(asked["protocol"]))
        except _Refused as error:
            text = encode(Line(f"-ERR {error}"), 2)
        except CompileError as error:
            text = encode(Line(f"-ERR Error compiling function: {_first(error)}"), 2)
        except (BusyError, QuotaExceededError) as error:
            text = encode(Line(f"-{'BUSY' if isinstance(error, BusyError) else 'OOM'} {error}"), 2)
        except SplinterError as error:
            text = encode(Line(f"-ERR {error}"), 2)
        except Exception:
            _log.exception("a question of the Redis protocol failed")
            text = encode(Line("-ERR the server failed; its log tells how"), 2)
        finally:
            self._asked[tenant] -= 1
            if not self._asked[tenant]:
                del self._asked[tenant]
        await self._send(channel, number, connection, text)

    async def _send(self, channel: socket.socket, number: int, connection: int, text: bytes | None) -> None:
        """Send a reply in pieces; None: the command can be executed now."""
        if text is not None and len(text) > limits.RESP_REPLY_BYTES_MAX:
            text = encode(Line(f"-ERR a reply has at most {limits.RESP_REPLY_BYTES_MAX} bytes"), 2)
        head = np.zeros(1, ANSWER)
        head["number"], head["connection"], head["is_done"] = number, connection, text is None
        whole = text or b""
        loop = asyncio.get_running_loop()
        for start in range(0, max(len(whole), 1), _PIECE_BYTES):
            head["has_more"] = start + _PIECE_BYTES < len(whole)
            with contextlib.suppress(ConnectionError):  # the server ends
                await loop.sock_sendall(channel, head.tobytes() + whole[start : start + _PIECE_BYTES])

    # --- what is asked ----------------------------------------------------------------------------------------------

    async def _do(self, words: list[bytes], proof: dict[str, Any]) -> Value | None:
        if words[0].upper() != b"FUNCTION":
            await self._install_script(words[1].decode(), proof)
            return None
        acts = {b"LOAD": self._load, b"LIST": self._list, b"DELETE": self._delete, b"STATS": self._stats}
        return await acts[words[1].upper()](words[2:], proof)

    async def _install_script(self, name: str, proof: dict[str, Any]) -> None:
        source = library.entry(_SCRIPTS).sources[name]
        await self._run({"op": "extension.install", **proof, "source": source, "name": name})

    async def _load(self, words: list[bytes], proof: dict[str, Any]) -> Value:
        """FUNCTION LOAD [REPLACE] source, which begins with ``#!python name=…``."""
        replaces = len(words) == 2 and words[0].upper() == b"REPLACE"
        if len(words) != 1 and not replaces:
            raise _Refused("Unknown option given: FUNCTION LOAD [REPLACE] source" if words else _arity("load"))
        try:
            source = words[-1].decode()
        except UnicodeDecodeError:
            raise _Refused("a function's source is text in UTF-8") from None
        name = _library_name(source)
        if not replaces and any(entry["name"] == name for entry in await self._extensions(proof)):
            raise _Refused(f"Library '{name}' already exists")
        await self._run({"op": "extension.install", **proof, "source": source, "name": name})
        return name.encode()

    async def _list(self, words: list[bytes], proof: dict[str, Any]) -> Value:
        """FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]."""
        pattern, with_code, rest = "*", False, list(words)
        while rest:
            word = rest.pop(0).upper()
            if word == b"WITHCODE":
                with_code = True
            elif word == b"LIBRARYNAME" and rest:
                pattern = rest.pop(0).decode(errors="replace")
            else:
                raise _Refused(f"Unknown argument {word.decode(errors='replace')}")
        return [
            _described(entry, with_code)
            for entry in await self._extensions(proof)
            if fnmatch.fnmatchcase(entry["name"], pattern)
        ]

    async def _delete(self, words: list[bytes], proof: dict[str, Any]) -> Value:
        if len(words) != 1:
            raise _Refused(_arity("delete"))
        name = words[0].decode(errors="replace")
        if not any(entry["name"] == name for entry in await self._extensions(proof)):
            raise _Refused("Library not found")
        await self._run({"op": "extension.uninstall", **proof, "name": name})
        return Line("+OK")

    async def _stats(self, words: list[bytes], proof: dict[str, Any]) -> Value:
        if words:
            raise _Refused(_arity("stats"))
        count = len(await self._extensions(proof))
        engines = Fields({_ENGINE.encode(): Fields({b"libraries_count": count, b"functions_count": count})})
        return Fields({b"running_script": None, b"engines": engines})

    async def _extensions(self, proof: dict[str, Any]) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = (await self._run({"op": "extension.list", **proof}))["extensions"]
        return told


def _words(packed: bytes, count: int) -> list[bytes]:
    found, at = [], 0
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(packed, at)
        found.append(packed[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _arity(subcommand: str) -> str:
    return f"wrong number of arguments for 'function|{subcommand}' command"


def _first(error: CompileError) -> str:
    """The first finding, in one line."""
    if not error.diagnostics:
        return str(error)
    found: Any = error.diagnostics[0]
    return f"line {found.line}: {found.message}" + (f" ({found.hint})" if found.hint else "")


def _library_name(source: str) -> str:
    """What the first line says: a library is one function, and has its name."""
    head = source.partition("\n")[0].split()
    if not head or not head[0].startswith("#!"):
        raise _Refused("Missing library metadata: the source begins with #!python name=NAME")
    if head[0][2:].lower() != _ENGINE.lower():
        raise _Refused(f"Engine '{head[0][2:]}' not found: functions are in Python, and begin with #!python name=NAME")
    if len(head) != 2 or not head[1].startswith("name="):
        raise _Refused("Library name was not given: the source begins with #!python name=NAME")
    return head[1].removeprefix("name=")


def _described(entry: dict[str, Any], with_code: bool) -> Fields:
    function = Fields({b"name": entry["name"].encode(), b"description": None, b"flags": []})
    told: dict[bytes, Value] = {b"library_name": entry["name"].encode(), b"engine": _ENGINE.encode(), b"functions": [function]}
    if with_code:
        told[b"library_code"] = None  # the source is not kept
    return Fields(told)
