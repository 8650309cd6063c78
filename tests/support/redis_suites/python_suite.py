"""redis-py's own tests, from its source distribution, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from functools import partial
from pathlib import Path

from splinter.testing.process import die_with_parent
from tests.support.redis_suites import sources
from tests.support.redis_suites.gate import Gate
from tests.support.redis_suites.targets import Target
from tests.support.redis_suites.verdicts import Outcome

SUITE = "redis-py"
FILES = tuple(
    f"tests/test_{name}.py" for name in ("commands", "pipeline", "encoding", "connection", "connection_pool", "client")
)
TEST_SECONDS_MAX = 30
INSIDE = Path(__file__).with_name("inside")


def run(target: Target, *, only: Collection[str] | None = None, gate: Gate | None = None) -> list[Outcome]:
    """Run all tests of :data:`FILES`, or those of these ids, and tell their outcomes, with what the gate refused."""
    with sources.redis_py() as folder, tempfile.TemporaryDirectory(prefix="splinter-redis-suites-") as name:
        outcomes = Path(name) / "outcomes"
        # The checkout's packages must not be in the way of theirs, one of which has the name 'tests' too.
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "REDIS"))}
        variables |= {"PYTHONPATH": str(INSIDE), "PYTHONDONTWRITEBYTECODE": "1", "REDIS_SUITE_OUTCOMES": str(outcomes)}
        if only is not None:
            (Path(name) / "only").write_text("\n".join(only), encoding="utf-8")
            variables["REDIS_SUITE_TESTS"] = str(Path(name) / "only")
        if gate is not None:
            variables["REDIS_SUITE_GATE"] = str(gate.port)
            target = Target("127.0.0.1", gate.port, target.user, target.token, target.table)
        words = [
            sys.executable, "-m", "pytest", "-q", "-p", "splinter_redis_suite", "-p", "no:cacheprovider", "-p", "no:xdist",
            "--capture=sys", "--tb=native", "--show-capture=no", f"--timeout={TEST_SECONDS_MAX}",
            "--redis-url", target.url, "--redis-mod-url", target.url, *FILES,
        ]  # fmt: skip
        with (Path(name) / "log").open("w+", encoding="utf-8") as log:
            subprocess.run(
                words, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )  # fmt: skip
            log.seek(0)
            said = log.read()
        if not outcomes.exists():
            raise sources.SourceError("redis-py's tests did not run:\n" + "\n".join(said.splitlines()[-15:]))
        return _read(outcomes, gate)


def _read(outcomes: Path, gate: Gate | None) -> list[Outcome]:
    refused = {seen.test: tuple(seen.refused) for seen in gate.seen} if gate is not None else {}
    lines = [json.loads(line) for line in outcomes.read_text(encoding="utf-8").splitlines()]
    return [Outcome(test.partition("::")[0], test, result, said, refused.get(test, ())) for test, result, said in lines]
