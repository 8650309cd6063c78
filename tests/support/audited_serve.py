"""``splinter serve``, with an audit of the store when everybody has left it; a finding ends it with status 1."""

from __future__ import annotations

import sys

from splinter.cli.main import main
from splinter.server.supervisor import serving, supervisor


class AuditingSupervisor(supervisor.Supervisor):
    """Looks at the store last of all."""

    def stop(self) -> None:
        """As a supervisor does; then every participant is at rest."""
        super().stop()
        if problems := self._store.problems():
            sys.exit("the store's audit found:\n" + "\n".join(problems))


if __name__ == "__main__":
    serving.Supervisor = AuditingSupervisor  # type: ignore[misc]
    main()
