"""Functions in Lua that Redis runs beside its data: the counterparts of extensions.

Each is a body in the folder ``lua``, with ``KEYS`` and ``ARGV`` as Redis names them. It is called as an ad-hoc script
(``EVALSHA``) or as a function of a library (``FCALL``, Redis 7): the logic is the same text.
"""

from __future__ import annotations

from importlib import resources

from splinter_bench.subjects.redis import RedisServer, ask, command


def body(name: str) -> str:
    """Text of a body in the folder."""
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


GET, CHAIN, SCAN, AGGREGATE, FOREST = map(body, ("get", "chain", "scan", "aggregate", "forest"))
_LIBRARY = "splinter"


def load_script(server: RedisServer, netns: str | None, body: str) -> bytes:
    """Have Redis keep a body for ``EVALSHA``; returns its digest. Raises :class:`SplinterError` when it is not Lua."""
    return ask(server, netns, b"SCRIPT", b"LOAD", body.encode())


def load_functions(server: RedisServer, netns: str | None, bodies: dict[str, str]) -> None:
    """Install bodies as functions for ``FCALL``, by name, in place of those before.

    Raises :class:`SplinterError` when one is not Lua.
    """
    functions = [f"redis.register_function('{name}', function(KEYS, ARGV)\n{body}\nend)" for name, body in bodies.items()]
    library = "\n".join([f"#!lua name={_LIBRARY}", *functions])
    ask(server, netns, b"FUNCTION", b"LOAD", b"REPLACE", library.encode())


def fcall(name: str, keys: list[bytes], *arguments: bytes) -> bytes:
    """The command that runs a function installed by :func:`load_functions`."""
    return command(b"FCALL", name.encode(), b"%d" % len(keys), *keys, *arguments)
