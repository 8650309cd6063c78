"""An infinite loop: it costs its own tenant, and nobody else."""

from splinter.ext import Store, extension


@extension
def bad(db: Store) -> None:
    """Never end; the server ends the task when it has used up its total budget."""
    while True:
        pass
