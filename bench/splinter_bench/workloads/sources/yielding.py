"""Do nothing but yield: what the scheduler itself costs."""

from splinter.ext import Store, extension


@extension
def yielding(db: Store) -> None:  # type: ignore[misc]  # no Generator: a coroutine of the language
    """Never end."""
    while True:
        yield
