"""The extensions of the library and of the examples that only read and compute with integers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from splinter.errors import SplinterError
from splinter.ext import library
from splinter.ext.abi import MAY_WRITE
from splinter.ext.compile import compile_source
from splinter.ext.front.source_of import source_of

_EXAMPLES = (
    "examples.counter",
    "examples.leaderboard",
    "examples.rate_limiter",
    "examples.tao",
    "examples.wordnet.extensions.lowest_common_ancestor",
    "examples.wordnet.extensions.path_to_root",
)


def _sources() -> Iterator[tuple[str, str]]:
    for name in library.NAMES:
        yield from library.entry(name).sources.items()
    for name in _EXAMPLES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise SplinterError(f"there is no {error.name}: the examples are in a checkout of Splinter") from None
        for function in vars(module).values():
            if getattr(function, "__splinter_extension__", False) and function.__module__ == name:
                yield function.__name__, source_of(function)[0]


def only_reading() -> dict[str, str]:
    """Sources by name. Raises :class:`SplinterError` outside a checkout, where there are no examples."""
    whole = {name: source for name, source in _sources() if "f64" not in source and "f32" not in source}
    return {name: source for name, source in whole.items() if not compile_source(source).isolation & MAY_WRITE}
