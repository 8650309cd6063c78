"""An infinite loop."""

from splinter.ext import Store, extension


@extension
def endless(db: Store) -> None:
    """Never end."""
    while True:
        pass
