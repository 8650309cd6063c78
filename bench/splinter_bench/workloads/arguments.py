"""Invokes with arguments drawn at random: ``--argument user=zipf:100000 --argument steps=const:8``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from splinter.errors import BadArgumentsError, SplinterError
from splinter.ext.signature import Signature
from splinter_bench.seed import SEED
from splinter_bench.workloads.catalogue import Shape, tenants_of
from splinter_bench.workloads.distribution import Distribution, parse
from splinter_bench.workloads.workload import NUMBER_BYTES, SCHEDULE_ENTRIES, Workload, invoke_operation, key_template, only

_KEY, _TEXT, _BYTES = "key:", "text:", "bytes:"


def invoke_workload(signature: Signature, texts: Sequence[str], shape: Shape) -> Workload:
    """Invokes of an extension. ``texts``: ``NAME=WHAT`` for each parameter.

    WHAT is a distribution (:mod:`.distribution`) for numbers; for bytes ``text:ABC``, ``bytes:COUNT`` (zeros) or
    ``key:DISTRIBUTION``, which is the benchmark's key with that number. Replies are checked for their status only. Raises
    :class:`SplinterError` when this does not fit the signature.
    """
    kinds = dict(signature.parameters)
    given = dict(_split(text, signature) for text in texts)
    if missing := [name for name in kinds if name not in given]:
        raise SplinterError(f"--argument {missing[0]}=… is missing: {signature}")
    random = np.random.default_rng(SEED)
    constants: dict[str, Any] = {}
    columns: list[np.ndarray] = []
    numbers: list[tuple[int, int]] = []
    tail = signature.arguments_bytes_min
    for position, (name, kind) in enumerate(signature.parameters):
        text = given[name]
        if kind == "bytes":
            content, drawn = _content(name, text, shape)
            constants[name] = content
            tail += len(content)
            if drawn is not None:
                numbers.append((tail - NUMBER_BYTES, len(columns)))
                columns.append(drawn.sample(random, SCHEDULE_ENTRIES))
            continue
        drawn = parse(text)
        constants[name] = _scalar(drawn.low, kind)
        _check(signature, name, _scalar(drawn.high, kind), kind)
        if drawn.kind != "const":
            numbers.append((position * NUMBER_BYTES, len(columns)))
            values = drawn.sample(random, SCHEDULE_ENTRIES)
            columns.append(values.astype(np.float64).view(np.int64) if kind == "f64" else values)
    try:
        packed = signature.pack((), constants)
    except BadArgumentsError as error:
        raise SplinterError(str(error)) from error
    operation = invoke_operation(shape.accounts[0], signature.name, packed, numbers=numbers, writes=True)
    entries = np.column_stack(columns) if columns else np.zeros((SCHEDULE_ENTRIES, 1), np.int64)
    who = tenants_of(shape, random, SCHEDULE_ENTRIES)
    return only(operation, entries, shape.accounts, who)


def _split(text: str, signature: Signature) -> tuple[str, str]:
    name, equals, what = text.partition("=")
    if not equals or name not in dict(signature.parameters):
        raise SplinterError(f"--argument {text!r}: write NAME=WHAT for a parameter of {signature}")
    return name, what


def _content(name: str, text: str, shape: Shape) -> tuple[bytes, Distribution | None]:
    if text.startswith(_KEY):
        return key_template(shape.key_bytes), parse(text.removeprefix(_KEY))
    if text.startswith(_TEXT):
        return text.removeprefix(_TEXT).encode(), None
    if text.startswith(_BYTES) and text.removeprefix(_BYTES).isdecimal():
        return bytes(int(text.removeprefix(_BYTES))), None
    raise SplinterError(f"--argument {name} is bytes: write key:DISTRIBUTION, text:TEXT or bytes:COUNT, not {text!r}")


def _scalar(number: int, kind: str) -> Any:
    return bool(number) if kind == "bool" and number in (0, 1) else float(number) if kind == "f64" else number


def _check(signature: Signature, name: str, value: Any, kind: str) -> None:
    try:
        Signature(signature.name, ((name, kind),), signature.result).pack((value,))
    except BadArgumentsError as error:
        raise SplinterError(str(error)) from error
