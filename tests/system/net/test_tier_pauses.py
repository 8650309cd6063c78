"""A reader in the kernel, held where a writer's step can do most harm: at each place, for each kind of step."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest

from splinter import limits
from splinter.net import netns
from splinter.net.bpf.clang import BPF_FOLDER
from splinter.net.lab import Lab
from splinter.net.tenants import TENANT_ACTIVE, TENANT_REMOVING
from splinter.net.xdp import Verdict
from splinter.store.epochs import epoch_leave
from splinter.store.layout import BUCKET, ENTRY_TAG_SHIFT
from splinter.store.store import Store
from tests.support.epochs import is_safe, retire_stamp
from tests.support.held_cpu import be_held, beside_the_held, only_one_held
from tests.support.tenants import write_tenant
from tests.support.tier_program import HEADER_BYTES, TENANT_ID, TOKEN, Ran, TierProgram, frame, get
from tests.support.waiting import wait_for
from tests.support.xdp_runs import Action

pytestmark = pytest.mark.xdp

KEY, BEFORE, AFTER, HERS = b"key of a tenant", b"before " * 12, b"AFTER! " * 12, b"hers!! " * 12
WRITES = 100  # of two keys: more than the class has of free slots at hand
VALUE_AT = 42 + HEADER_BYTES
PLACES = re.findall(r"^    PAUSE_(\w+),", (BPF_FOLDER / "pause.h").read_text(), re.MULTILINE)  # by number
BEFORE_LOOKING = ("ENTERED", "BUCKET")
SEEN = ("ENTRY", "IDENTITY", "KEY", "VERSION", "TOKEN")
BEFORE_TOKEN = ("ENTERED", "BUCKET", "ENTRY", "IDENTITY", "KEY", "VERSION")
LEFT = {Verdict.OVER_COMMIT, Verdict.NO_SOCKET}  # to the worker: here is none


@pytest.fixture(scope="module")
def loaded(lab: Lab) -> Iterator[TierProgram]:
    with netns.inside(lab.server.namespace), TierProgram(pauses=True) as program:
        assert program.program.tier_off == ""
        yield program


@pytest.fixture
def tier(loaded: TierProgram) -> Iterator[TierProgram]:
    write_tenant(loaded.tenants, TENANT_ID, TOKEN)
    epoch_leave(loaded.store.address, 0)
    use_slots_again(loaded.store)  # and so compiles what a reader is not to wait for
    loaded.store.delete(TENANT_ID, 0, KEY)
    loaded.store.put(TENANT_ID, 0, KEY, BEFORE)
    with only_one_held(), beside_the_held():
        yield loaded


class Reader:
    """One get, made by the kernel up to a place, and to its end when the block ends."""

    def __init__(self, tier: TierProgram, place: str, key: bytes = KEY) -> None:
        self._tier, self._place = tier, PLACES.index(place)
        self._packet = frame(get(key, bytes(len(BEFORE))))
        self._ran: list[Ran] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        be_held()
        self._ran.append(self._tier.run(self._packet))

    def __enter__(self) -> Reader:
        self._tier.pauses[:] = self._place, 0
        self._thread.start()
        wait_for(lambda: self._tier.pauses[1] == self._place)
        return self

    def go_on_to(self, place: str) -> None:
        """Have it come to another place."""
        number = PLACES.index(place)
        self._tier.pauses[0] = number
        wait_for(lambda: self._tier.pauses[1] == number)

    def __exit__(self, *_: object) -> None:
        self._tier.pauses[0] = 0
        self._thread.join()

    @property
    def ran(self) -> Ran:
        """What became of it."""
        return self._ran[0]

    @property
    def value(self) -> bytes | None:
        """What was found; None: nothing."""
        assert self.ran.action == Action.TX, self.ran.verdicts
        return self.ran.packet[VALUE_AT:] if self.ran.verdicts == {Verdict.KERNEL_HIT} else None


def use_slots_again(store: Store) -> None:
    """Write so much that all free slots of the class are used, and all that may be freed."""
    for _ in range(WRITES):
        store.put(TENANT_ID, 0, b"another one's.", AFTER)
        store.put(TENANT_ID, 0, b"a third one's..", AFTER)


def give_away(tier: TierProgram, token: int, generation: int) -> None:
    """Remove the tenant and give its number to another one."""
    tier.tenants["flags"][TENANT_ID] = TENANT_REMOVING
    tier.store.close_tenant(TENANT_ID)
    for _ in tier.store.sweep_tenant(TENANT_ID):
        pass
    tier.store.open_tenant(TENANT_ID, limits.TENANT_QUOTA_BYTES_DEFAULT, generation=generation)
    tier.tenants["token"][TENANT_ID] = token
    tier.tenants["flags"][TENANT_ID] = TENANT_ACTIVE


@pytest.mark.parametrize("place", BEFORE_LOOKING)
def test_who_has_not_looked_yet_sees_what_was_written_meanwhile(tier: TierProgram, place: str) -> None:
    with Reader(tier, place) as reader:
        tier.store.put(TENANT_ID, 0, KEY, AFTER)
    assert reader.value == AFTER
    with Reader(tier, place) as reader:
        tier.store.delete(TENANT_ID, 0, KEY)
    assert reader.value is None


@pytest.mark.parametrize("place", SEEN)
def test_what_was_found_stays_as_it_is_while_it_is_replaced(tier: TierProgram, place: str) -> None:
    with Reader(tier, place) as reader:
        tier.store.put(TENANT_ID, 0, KEY, AFTER)
        use_slots_again(tier.store)
    assert reader.value == BEFORE


@pytest.mark.parametrize("place", SEEN)
def test_what_was_found_stays_as_it_is_while_it_is_deleted(tier: TierProgram, place: str) -> None:
    with Reader(tier, place) as reader:
        tier.store.delete(TENANT_ID, 0, KEY)
        use_slots_again(tier.store)
    assert reader.value == BEFORE


@pytest.mark.parametrize("place", [*BEFORE_LOOKING, *SEEN])
def test_memory_is_freed_when_the_reader_is_gone(tier: TierProgram, place: str) -> None:
    with Reader(tier, place):
        tier.store.put(TENANT_ID, 0, KEY, AFTER)
        stamp = retire_stamp(tier.store)
        assert not is_safe(tier.store, stamp)
        assert not is_safe(tier.store, stamp)  # though epochs go on
    assert is_safe(tier.store, stamp)


@pytest.mark.parametrize("place", BEFORE_TOKEN)
def test_a_number_that_became_another_tenant_s_shows_nothing_of_hers(tier: TierProgram, place: str) -> None:
    with Reader(tier, place) as reader:
        give_away(tier, TOKEN + 1, 2)
        tier.store.put(TENANT_ID, 0, KEY, HERS)
    assert reader.ran.verdicts == LEFT
    give_away(tier, TOKEN, 1)


@pytest.mark.parametrize("place", BEFORE_TOKEN)
def test_a_tenant_that_is_removed_meanwhile_gets_no_answer_here(tier: TierProgram, place: str) -> None:
    with Reader(tier, place) as reader:
        tier.tenants["flags"][TENANT_ID] = TENANT_REMOVING
    assert reader.ran.verdicts == LEFT


@pytest.mark.parametrize("place", [*BEFORE_LOOKING, "MISSING", "SEQUENCE"])
def test_a_miss_is_none_where_a_deletion_has_begun(tier: TierProgram, place: str) -> None:
    account = tier.store.accounts[TENANT_ID]
    with Reader(tier, place, b"nosuch") as reader:
        account["deleted"] = account["sequence"] + 1
    account["deleted"] = account["sequence"]
    assert reader.ran.verdicts == LEFT


def test_a_miss_is_none_where_a_deletion_was_taken_back_in_each_look(tier: TierProgram) -> None:
    """An open commit hides the object while the get looks, is taken back, and another one gets its number; and once more."""
    account = tier.store.accounts[TENANT_ID]
    bucket, tag = tier.place_of(TENANT_ID, 0, KEY)
    entries = tier.store.index_region.array(BUCKET)[bucket]["entries"]
    place = next(number for number, entry in enumerate(entries) if int(entry) >> ENTRY_TAG_SHIFT == tag)
    entry, entries[place] = int(entries[place]), 0
    with Reader(tier, "MISSING") as reader:
        account["deleted"] = account["sequence"] = account["sequence"] + 1
        reader.go_on_to("SEQUENCE")
        reader.go_on_to("MISSING")
        account["deleted"] = account["sequence"] = account["sequence"] + 1
        entries[place] = entry
    assert reader.ran.verdicts == LEFT
