"""What services do with common clients of Redis: programs for which a server is as good as a real Redis."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.redis_server import Door

# A module of tests/support/redis_clients, and the client that it needs.
PROGRAMS = {
    "django_cache": "django_redis",
    "django_sessions": "django_redis",
    "flask_sessions": "flask_session",
    "flask_cache": "flask_caching",
    "aio_cache": "aiocache",
    "regions": "dogpile.cache",
    # These send scripts.
    "locks": "redis",
    "async_locks": "redis",
    "django_counts": "django_redis",
    "aio_locks": "aiocache",
    "region_locks": "dogpile.cache",
    "rate_limits": "limits",
    "flask_limits": "flask_limiter",
    "redlocks": "pottery",
}
PROTOCOLS = (2, 3)
FIRST_TABLE = 20

each_program = pytest.mark.parametrize("program", PROGRAMS)
by_both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


def run(program: str, door: Door, protocol: int) -> None:
    """Runs a program on a table of its own; fails with what it said when it did not find what it expects."""
    pytest.importorskip(PROGRAMS[program], reason=f"the extra test has {PROGRAMS[program]}")
    table = FIRST_TABLE + list(PROGRAMS).index(program)
    url = f"redis://{door.user}:{door.password}@{door.host}:{door.port}/{table}?protocol={protocol}"
    command = [sys.executable, "-m", f"tests.support.redis_clients.{program}", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@by_both_protocols
@each_program
def test_a_program(splinter: Door, program: str, protocol: int) -> None:
    run(program, splinter, protocol)


@pytest.mark.redis
@by_both_protocols
@each_program
def test_a_program_with_a_real_redis(redis: Door, program: str, protocol: int) -> None:
    run(program, redis, protocol)
