"""Control messages that nobody should send: random bytes, mutated msgpack, wrong types for every field of every operation; as
the administrator, as a tenant, as nobody."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack

from splinter import limits
from splinter.client.admin import TenantInfo
from splinter.server.control import operations as control_operations
from tests.support.random_packets import NAMES, SOURCES

LENGTH = struct.Struct("<I")
_HANDLER = re.compile(r'"([a-z]+(?:\.[a-z_]+)?)": self\._[a-z_]+,')
# What a field is given instead of what it takes. (No id of a tenant that is not the attackers': the administrator may do all.)
WRONG: list[Any] = [
    None, True, False, -1, 1 << 63, (1 << 64) - 1, -(1 << 63), 0.0, 1.5, float("nan"), float("inf"), "", "x", "\0", "x" * 300,
    "[/nope]", "\x1b[2J", "\udcff", b"", b"\xff" * 9, [], {}, [1, [2, [3]]], {"a": {"b": 1}}, {1: 2}, limits.TENANTS_MAX,
]  # fmt: skip
_VALID_SHARE, _INSTALL_SHARE = 0.5, 0.02  # of the fields; of the installs whose source compiles: it takes the compiler's time


def operations() -> list[str]:
    """Every operation of the server, whoever adds one."""
    found = _HANDLER.findall(Path(control_operations.__file__).read_text(encoding="utf-8"))
    assert {"hello", "stats", "tenant.create", "extension.install"} <= set(found), found
    return found


def field_names() -> list[str]:
    """Every field that an operation reads."""
    server = Path(control_operations.__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in sorted(server.glob("*.py"))]
    found = {name for text in texts for name in re.findall(r'fields\.[a-z_]+\(request, "([a-z_]+)"', text)}
    assert {"tenant", "token", "source", "name", "count", "home"} <= found, found
    more = {*control_operations.RECORD_LIMITS, "durability"}  # which are not read where the others are
    return sorted((found | more) - {"credential"})


class RandomMessages:
    """``attackers`` are tenants that may be harmed, ``others`` those whose ids come with wrong tokens only."""

    def __init__(self, seed: int, credential: str, attackers: Sequence[TenantInfo], others: Sequence[TenantInfo]) -> None:
        self._dice = random.Random(seed)
        self._credential, self._attackers, self._others = credential, attackers, others
        self._operations, self._fields = operations(), field_names()

    def frame(self) -> tuple[bytes, bool]:
        """A message behind its length, and whether the connection may go on: false where length and bytes do not agree."""
        dice = self._dice
        body = self._packed()
        fate = dice.random()
        if fate < 0.05:
            body = dice.randbytes(dice.randrange(200))
        elif fate < 0.3:
            body = self._mutated(body)
        elif fate < 0.32:
            length = dice.choice((limits.CONTROL_MESSAGE_BYTES_MAX + 1, 1 << 31, (1 << 32) - 1))
            return LENGTH.pack(length) + body, False
        elif fate < 0.34:
            return LENGTH.pack(len(body) + 1 + dice.randrange(1000)) + body, False  # cut short
        elif fate < 0.35:
            return LENGTH.pack(len(body))[: dice.randrange(4)], False
        return LENGTH.pack(len(body)) + body, True

    def _packed(self) -> bytes:
        dice = self._dice
        request = {"op": dice.choice(self._operations), **self._who()}
        for name in self._fields:
            if name not in request and dice.random() < 0.5:
                request[name] = self._value(name)
        if dice.random() < 0.1:
            request[dice.choice([*request, "credential"])] = dice.choice(WRONG)
        if self._harms_others(request):
            request.pop("credential")
        return bytes(msgpack.packb(request, unicode_errors="surrogatepass"))

    def _who(self) -> dict[str, Any]:
        dice = self._dice
        attacker, other = dice.choice(self._attackers), dice.choice(self._others)
        return dice.choice(
            [
                {"credential": self._credential, "tenant": attacker.tenant},
                {"credential": self._credential},
                {"tenant": attacker.tenant, "token": attacker.token},
                {"tenant": other.tenant, "token": attacker.token},
                {"tenant": other.tenant, "token": dice.getrandbits(64)},
                {"credential": self._credential + "x", "tenant": other.tenant},
                {},
            ]
        )

    def _harms_others(self, request: dict[str, Any]) -> bool:
        """Whether it is the administrator's about a tenant that is not the attackers': that would be obeyed."""
        tenant = request.get("tenant")
        mine = [attacker.tenant for attacker in self._attackers]
        return request.get("credential") == self._credential and isinstance(tenant, int) and tenant not in mine

    def _value(self, name: str) -> Any:
        dice = self._dice
        if dice.random() > _VALID_SHARE:
            return dice.choice(WRONG)
        valid: dict[str, Callable[[], Any]] = {
            "name": lambda: dice.choice((*NAMES, "none")),
            "source": lambda: SOURCES[dice.choice(NAMES)] if dice.random() < _INSTALL_SHARE else "def f(:",
            "count": lambda: dice.randrange(1, 3),
            "tenant": lambda: dice.choice(self._attackers).tenant,
            "token": lambda: dice.choice(self._attackers).token,
            "home": lambda: dice.randrange(3),
        }
        return valid.get(name, lambda: dice.choice((0, 1, 1000, 1 << 20)))()

    def _mutated(self, body: bytes) -> bytes:
        """Some bits flipped, bytes taken out or doubled. What is left of a credential is wrong, or the message is harmless."""
        dice, changed = self._dice, bytearray(body)
        for _ in range(dice.randrange(1, 4)):
            place = dice.randrange(len(changed))
            kind = dice.randrange(3)
            if kind == 0:
                changed[place] ^= 1 << dice.randrange(8)
            elif kind == 1 and len(changed) > 1:
                del changed[place]
            else:
                changed.insert(place, changed[place])
        try:
            request = msgpack.unpackb(bytes(changed), strict_map_key=False)
        except Exception:
            return bytes(changed)
        is_harmful = isinstance(request, dict) and self._harms_others(request)
        return body if is_harmful else bytes(changed)
