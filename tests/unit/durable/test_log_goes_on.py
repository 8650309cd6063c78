"""A log goes on behind what there is, whatever the file says that tells of the last group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter.durable.groups import DamageError
from splinter.durable.log_reader import LogReader
from splinter.durable.segments import CONFIRMED, Confirmed
from tests.support.log_worlds import IDENTITY, TENANT, World, log_world
from tests.support.logs import restored, state_of


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with log_world(tmp_path) as made:
        yield made


def _spoil(path: Path, how: str) -> None:
    """Have the file that tells of the last group say something else."""
    confirmed = Confirmed(path.parent)
    match how:
        case "missing":
            path.unlink()
        case "too old":
            confirmed.number -= 1
        case "much too old":
            confirmed.number //= 4
        case _:  # a bit of it
            data = bytearray(path.read_bytes())
            data[int(how) // 8] ^= 1 << int(how) % 8
            path.write_bytes(data)


@pytest.mark.parametrize("how", ["missing", "too old", "much too old", *map(str, range(12 * 8))])
def test_whatever_says_which_group_was_the_last_nothing_is_written_under_its_number(world: World, how: str) -> None:
    """The successor has all in memory, and never reads what is on the disk but for the end of it."""

    def work() -> None:
        for number in range(10):
            world.store.put(TENANT, 0, b"key", b"%d" % number)
            logger.turn()

    logger = world.logger()
    work()
    logger.close()
    _spoil(world.paths.log / CONFIRMED, how)
    logger = world.logger()
    work()
    log = LogReader(world.paths.log, IDENTITY, 1)
    made = restored([bytes(group.payload) for group in log], world.store)
    assert log.number == 21 and state_of(made, TENANT) == state_of(world.store, TENANT)


def test_a_log_whose_end_cannot_be_found_is_not_written(world: World) -> None:
    logger = world.logger()
    for number in range(10):
        world.store.put(TENANT, 0, b"key", b"%d" % number)
        logger.turn()
    logger.close()
    (segment,) = world.paths.log.glob("*.log")
    data = bytearray(segment.read_bytes())
    data[5 * 512 + 70] ^= 1
    segment.write_bytes(data)
    world.logger().close()  # it has no need to read that
    (world.paths.log / CONFIRMED).unlink()
    with pytest.raises(DamageError, match="group 6 "):
        world.logger()
