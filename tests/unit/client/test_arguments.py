"""Numbers that a caller gives: each is checked before anything is sent, and the error names the argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from splinter.client import Client, Transaction
from splinter.client.admin import Admin
from splinter.client.arguments import RANGES
from splinter.errors import BadTableError
from tests.support.control_responder import ControlResponder
from tests.unit.client.conftest import TENANT, TOKEN, Responder

ADDRESS = "127.0.0.1"
GOOD: dict[str, Any] = {
    "self": None, "address": ADDRESS, "credential": "c", "tenant": TENANT, "token": TOKEN, "home": 0, "count": 2, "key": b"k",
    "value": b"v", "keys": [b"k"], "items": [(b"k", b"v")], "name": "f", "extension": "source", "source": "source",
    "function": id, "ttl": 1.0, "number": 1, "pieces": [],
}  # fmt: skip
ODD = [-1, 1 << 64, 10**5000, 1.5, 1.0, float("nan"), float("inf"), True, b"1", [1], object()]
ODD_TIMEOUTS = [0, -1, 1e6, float("nan"), float("inf"), 10**400, True, "1", b"1", [1], object()]
ODD_TTLS = [0, -1, 1e12, float("nan"), float("inf"), 10**400, True, "1", b"1", [1], object()]
ODD_OF = {"timeout": ODD_TIMEOUTS, "ttl": ODD_TTLS}
METHODS = [
    (kind, name)
    for kind in (Client, Admin, Transaction)
    for name, member in inspect.getmembers(kind, inspect.isfunction)
    if (name == "__init__" and kind is not Transaction) or not name.startswith("_")
]


def numbers(kind: type, method: str) -> Iterator[tuple[str, bool]]:
    """The numeric parameters of a method, and whether each may be None."""
    for name, parameter in inspect.signature(getattr(kind, method)).parameters.items():
        annotation = str(parameter.annotation)
        if name != "self" and {"int", "float", "Ttl"} & set(annotation.split(" | ")):
            yield name, "None" in annotation


NUMBERS = [
    pytest.param(kind, method, name, odd, id=f"{kind.__name__}.{method}-{name}-{number}")
    for kind, method in METHODS
    for name, is_optional in numbers(kind, method)
    for number, odd in enumerate([*ODD_OF.get(name, ODD), *([] if is_optional else [None, "x"])])
]


@pytest.fixture
def call(responder: Responder) -> Iterator[Callable[..., Any]]:
    """Call a method with good arguments but for one; whatever gets as far as a server is seen there."""
    control = ControlResponder()
    control.answer = lambda request: {"ok": False, "error": "sent", "message": "it was sent"}
    ports = {"port": responder.port, "control_port": control.port}

    def call(kind: type, method: str, name: str, odd: Any) -> Any:
        parameters = inspect.signature(getattr(kind, method)).parameters
        given = {
            one: GOOD[one]
            for one, parameter in parameters.items()
            if one in GOOD and parameter.default is parameter.empty and one != "self"
        }
        begin = [given.pop("name")] if method == "invoke" else []
        if method == "__init__":
            return kind(**given | {name: odd})
        if kind is Admin:
            with Admin(ADDRESS, "c", port=control.port) as admin:
                return getattr(admin, method)(**given | {name: odd})
        with Client(ADDRESS, TENANT, TOKEN, **ports) as client, client.transaction() as transaction:
            made = transaction if kind is Transaction else client
            return getattr(made, method)(*begin, **given | {name: odd})

    yield call
    assert not control.requests, "it was sent"
    assert not responder.requests, "it was sent"
    control.close()


def test_all_methods_with_numbers_are_met() -> None:
    met = {name for kind, method in METHODS for name, _ in numbers(kind, method)}
    assert met == {*RANGES, "timeout", "ttl"}
    assert len(NUMBERS) > 400


@pytest.mark.parametrize(("kind", "method", "name", "odd"), [one for one in NUMBERS if one.values[1] != "invoke"])
def test_an_impossible_number_is_refused_by_name(
    call: Callable[..., Any], kind: type, method: str, name: str, odd: Any
) -> None:
    with pytest.raises((ValueError, TypeError, BadTableError), match=f"^{name} is an? (integer|number)") as caught:
        call(kind, method, name, odd)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("odd", ODD_TIMEOUTS[:-2])
def test_an_impossible_time_out_of_an_invoke_is_refused(responder: Responder, odd: Any) -> None:
    """Once the extension's signature is known: ``timeout`` may be an argument of it."""
    control = ControlResponder()
    control.answer = lambda request: {"ok": True, "signature": {"name": "f", "parameters": [], "result": "u64"}}
    client = Client(ADDRESS, TENANT, TOKEN, port=responder.port, control_port=control.port)
    with client, pytest.raises((ValueError, TypeError), match="timeout is a number"):
        client.invoke("f", timeout=odd)
    control.close()
    assert not responder.requests


def test_an_argument_named_timeout_may_be_beyond_any_time_out(responder: Responder) -> None:
    control = ControlResponder()
    signature = {"name": "f", "parameters": [["timeout", "u64"]], "result": "u64"}
    control.answer = lambda request: {"ok": True, "signature": signature}
    responder.invoke = lambda name, packed, hash: (0, packed)
    with Client(ADDRESS, TENANT, TOKEN, port=responder.port, control_port=control.port) as client:
        assert client.invoke("f", timeout=1 << 40) == 1 << 40
    control.close()


def test_integers_of_other_libraries_are_integers(responder: Responder) -> None:
    with Client(ADDRESS, np.int64(TENANT), np.uint64(TOKEN), port=np.uint16(responder.port), timeout=np.float32(5)) as client:
        version = client.put(np.int32(3), b"v", table=np.uint8(2))
        assert client.get(3, table=2, timeout=np.int8(5)) == b"v"
        assert client.get_many([np.uint64(3)], table=np.int16(2), window=np.int64(2)) == [b"v"]
        assert client.put(3, b"w", table=2, if_version=np.uint64(version)) > version
        assert client.delete(np.uint8(3), table=np.int64(2))


def test_a_secret_is_not_repeated(responder: Responder) -> None:
    for token in ("0123456789abcdeg", 1 << 65, 1.5):
        with pytest.raises((ValueError, TypeError)) as caught:
            Client(ADDRESS, TENANT, token, port=responder.port)  # type: ignore[arg-type]
        assert str(token) not in str(caught.value)
