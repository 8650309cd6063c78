"""One program in both worlds: compiled, and under CPython."""

from __future__ import annotations

from splinter.ext import ExtensionFault, LocalStore
from splinter.ext.compile import compile_source
from tests.support.forms import FORMS, prepare
from tests.support.runner import Runner


def outcome(action):  # type: ignore[no-untyped-def]
    """A result, or the error and line that stood in its place."""
    try:
        return action()
    except ExtensionFault as fault:
        return fault.error.name, fault.line


def both(runner: Runner, source: str, *args: object, **kwargs: object) -> object:
    """Run in both worlds on equal stores, and assert that results and stores stay equal; the common result.

    Compiled, it runs as the compiler would have it, and poisoned in each form.
    """
    (prepared,) = prepare(source, forms=FORMS[:2])
    prepared.agree(*args, *kwargs.values(), objects=dict(runner.store.objects))
    local = LocalStore()
    local.objects.update(runner.store.objects)
    compiled = outcome(lambda: runner.run(compile_source(source), *args, **kwargs))
    interpreted = outcome(lambda: local.invoke(source, *args, **kwargs))
    assert compiled == interpreted
    assert type(compiled) is type(interpreted)
    assert runner.store.objects == local.objects
    return compiled


def body(text: str, parameters: str = "a: i64, b: i64", result: str = "i64") -> str:
    """An extension from the lines of its body, the first of which is line 3."""
    lines = "\n".join("    " + line for line in text.strip("\n").split("\n"))
    return f"@extension\ndef f(db: Store, {parameters}) -> {result}:\n{lines}\n"
