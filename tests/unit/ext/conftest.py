"""What tests of programs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.runner import Runner


@pytest.fixture
def runner() -> Iterator[Runner]:
    with Runner() as made:
        yield made
