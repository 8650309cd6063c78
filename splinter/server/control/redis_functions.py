"""What the workers ask for their connections of the Redis protocol: FUNCTION, and the extension that stands for a script.

Each worker has a channel of messages. What it asks is done as the tenant's request of the control plane would be, by the token
that the connection has shown; the reply goes back in pieces, as the client gets it. See :mod:`splinter.worker.resp.asks`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import ipaddress
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from splinter import limits
from splinter.errors import BusyError, CompileError, QuotaExceededError, SplinterError
from splinter.ext import library
from splinter.ext.compile import library_name
from splinter.native.clock import read_ticks
from splinter.server.control.redis_replies import Fields, Line, Value, encode
from splinter.worker.resp.layout import ANSWER, ANSWER_BYTES, ANSWER_LOST, ASK, ASK_BYTES

_log = logging.getLogger(__name__)
_LENGTH = struct.Struct("<I")
_PIECE_BYTES = limits.RESP_RECEIVE_BYTES - ANSWER_BYTES
_MESSAGE_BYTES = ASK_BYTES + limits.SOURCE_BYTES_MAX + limits.RESP_RECEIVE_BYTES
_ENGINE = "PYTHON"
_SCRIPTS = "redis_scripts"
_Run = Callable[[dict[Any, Any], str], Awaitable[dict[str, Any]]]  # a request, and from which address


class _Refused(Exception):
    """Replied as an error line, in these words."""


@dataclass(frozen=True)
class _Asker:
    """A connection's tenant, by the token that it has shown, and where it comes from."""

    tenant: int
    token: int
    address: str


class RedisFunctions:
    """Answers what comes by ``channels``; ``run`` does an operation of the control plane, ``libraries`` tells what functions
    a tenant has."""

    def __init__(self, channels: Sequence[socket.socket], run: _Run, libraries: Callable[[int], dict[str, list[str]]]) -> None:
        self._channels, self._run, self._libraries = channels, run, libraries
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending = {channel.fileno(): asyncio.Lock() for channel in channels}  # the loop wakes one who waits for a socket

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
        now, message = int(read_ticks()), b""
        with contextlib.suppress(BlockingIOError):  # what a predecessor had not taken is answered
            message = channel.recv(_MESSAGE_BYTES)
        await self._send(channel, ANSWER_LOST, _number(message) if message else now, b"")
        while True:
            message = message or await loop.sock_recv(channel, _MESSAGE_BYTES)
            if not message:
                return  # the server ends
            task = asyncio.create_task(self._answer(channel, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            message = b""

    async def _answer(self, channel: socket.socket, message: bytes) -> None:
        asked = np.frombuffer(message, ASK, 1)[0]
        number, connection, tenant = int(asked["number"]), int(asked["connection"]), int(asked["tenant"])
        words = _words(message[ASK_BYTES:], int(asked["count"]))
        who = _Asker(tenant, int(asked["token"]), str(ipaddress.IPv4Address(asked["peer"].tobytes())))
        try:
            reply = await self._do(words, who)
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
        await self._send(channel, number, connection, text, tenant)

    async def _send(self, channel: socket.socket, number: int, connection: int, text: bytes | None, tenant: int = 0) -> None:
        """Send a reply in pieces; None: the command can be executed now."""
        if text is not None and len(text) > limits.RESP_REPLY_BYTES_MAX:
            text = encode(Line(f"-ERR a reply has at most {limits.RESP_REPLY_BYTES_MAX} bytes"), 2)
        head = np.zeros(1, ANSWER)
        head["number"], head["connection"], head["is_done"], head["tenant"] = number, connection, text is None, tenant
        whole = text or b""
        loop = asyncio.get_running_loop()
        for start in range(0, max(len(whole), 1), _PIECE_BYTES):
            head["has_more"] = start + _PIECE_BYTES < len(whole)
            async with self._sending[channel.fileno()]:
                with contextlib.suppress(ConnectionError):  # the server ends
                    await loop.sock_sendall(channel, head.tobytes() + whole[start : start + _PIECE_BYTES])

    # --- what is asked ----------------------------------------------------------------------------------------------

    async def _do(self, words: list[bytes], who: _Asker) -> Value | None:
        if words[0].upper() != b"FUNCTION":
            await self._install_script(words[1].decode(), who)
            return None
        acts = {b"LOAD": self._load, b"LIST": self._list, b"DELETE": self._delete, b"STATS": self._stats}
        return await acts[words[1].upper()](words[2:], who)

    async def _install_script(self, name: str, who: _Asker) -> None:
        source = library.entry(_SCRIPTS).sources[name]
        await self._run_for(who, "extension.install", source=source, name=name)

    async def _load(self, words: list[bytes], who: _Asker) -> Value:
        """FUNCTION LOAD [REPLACE] source, which begins with ``#!python name=…``: all extensions of it."""
        replaces = len(words) == 2 and words[0].upper() == b"REPLACE"
        if len(words) != 1 and not replaces:
            raise _Refused("Unknown option given: FUNCTION LOAD [REPLACE] source" if words else _arity("load"))
        try:
            source = words[-1].decode()
        except UnicodeDecodeError:
            raise _Refused("a function's source is text in UTF-8") from None
        name = _library_of(source)
        before = await self._known(who)
        if name in before and not replaces:
            raise _Refused(f"Library '{name}' already exists")
        others = {function for library, functions in before.items() if library != name for function in functions}
        for function in _functions_of(source):
            if function in others:
                raise _Refused(f"Function {function} already exists")
        made = await self._run_for(who, "extension.install", source=source, every=True)
        for function in set(before.get(name, ())) - {each["name"] for each in made["extensions"]}:
            await self._run_for(who, "extension.uninstall", name=function)
        return name.encode()

    async def _list(self, words: list[bytes], who: _Asker) -> Value:
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
        libraries = (await self._known(who)).items()
        return [_described(*each, with_code) for each in libraries if fnmatch.fnmatchcase(each[0], pattern)]

    async def _delete(self, words: list[bytes], who: _Asker) -> Value:
        if len(words) != 1:
            raise _Refused(_arity("delete"))
        functions = (await self._known(who)).get(words[0].decode(errors="replace"))
        if functions is None:
            raise _Refused("Library not found")
        for function in functions:
            await self._run_for(who, "extension.uninstall", name=function)
        return Line("+OK")

    async def _stats(self, words: list[bytes], who: _Asker) -> Value:
        if words:
            raise _Refused(_arity("stats"))
        known = await self._known(who)
        counts: dict[bytes, Value] = {b"libraries_count": len(known), b"functions_count": sum(map(len, known.values()))}
        engines = Fields({_ENGINE.encode(): Fields(counts)})
        return Fields({b"running_script": None, b"engines": engines})

    async def _run_for(self, who: _Asker, op: str, **fields: str | bool) -> dict[str, Any]:
        return await self._run({"op": op, "tenant": who.tenant, "token": who.token, **fields}, who.address)

    async def _known(self, who: _Asker) -> dict[str, list[str]]:
        """The tenant's functions by their libraries."""
        await self._run_for(who, "tenant.status")  # whether it still is who it was
        return self._libraries(who.tenant)


def _number(message: bytes) -> int:
    return int(np.frombuffer(message, ASK, 1)["number"][0])


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


def _library_of(source: str) -> str:
    """The name of a library, by its first line."""
    name = library_name(source)
    if name:
        return name
    head = source.partition("\n")[0].split()
    if not head or not head[0].startswith("#!"):
        raise _Refused("Missing library metadata: the source begins with #!python name=NAME")
    if head[0][2:] != "python":
        raise _Refused(f"Engine '{head[0][2:]}' not found: functions are in Python, and begin with #!python name=NAME")
    if len(head) != 2 or not head[1].startswith("name="):
        raise _Refused("Library name was not given: the source begins with #!python name=NAME")
    raise _Refused("Library names can only contain letters, numbers, or underscores(_) and must be at least one character long")


def _functions_of(source: str) -> list[str]:
    """The names of its extensions; what is no Python has none that are known, and the compiler says why."""
    try:
        return list(library.split(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _described(name: str, functions: list[str], with_code: bool) -> Fields:
    told: dict[bytes, Value] = {b"library_name": name.encode(), b"engine": _ENGINE.encode()}
    told[b"functions"] = [Fields({b"name": each.encode(), b"description": None, b"flags": []}) for each in functions]
    if with_code:
        told[b"library_code"] = None  # the source is not kept
    return Fields(told)
