"""Client-side transactions on a running server: money is conserved, nothing is lost or done twice, whatever dies."""

from __future__ import annotations

import os
import random
import struct
from functools import partial

import pytest

from splinter import limits
from splinter.client import Client, Transaction
from splinter.client.admin import TenantInfo
from splinter.errors import ConflictError, QuotaExceededError, TransactionTooLargeError
from splinter.wire import ENTRIES_MAX, Header, Opcode
from tests.support.counting import INCREMENT
from tests.support.entries import deletes, puts
from tests.support.forks import start
from tests.support.histories import Killer
from tests.support.proxy import Faults, Proxy
from tests.support.raw import RawSocket
from tests.support.servers import RunningServer
from tests.support.threads import at_once
from tests.support.waiting import wait_for

TIMEOUT_SECONDS, TRIES = 20.0, 10_000
KILL_EVERY_SECONDS = 0.15
ACCOUNTS, START, BANK, MADE = 64, 1000, 3, 4  # and the tables
KEYS = [bytes((account,)) for account in range(ACCOUNTS)]  # short, so that one packet tells all versions
BANKERS, TRANSFERS, KILLS_MIN = 3, 3000, 5
THREADS, EACH = 4, 40
COUNTER = 7


def number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "little")


def count_up(key: int, tx: Transaction) -> int:
    value = number(tx.get(key, table=1)) + 1
    tx.put(key, value.to_bytes(8, "little"), table=1)
    return value


def test_objects_of_any_size_and_table(client: Client) -> None:
    most = limits.PACKET_BODY_BYTES_MAX
    values = {f"{size}": os.urandom(size) for size in (0, 1, most - 13, most - 12, most - 11, most - 4, most, 9000, 65536)}
    client.put_many(values.items(), table=2)
    with client.transaction() as tx:
        assert tx.get_many([*values, "none"], table=2) == [*values.values(), None]
        tx.put("none", b"", table=2)
        tx.put(b"k" * limits.KEY_BYTES_MAX, b"elsewhere", table=limits.TABLES_MAX - 1)
        for key in values:
            tx.delete(key, table=2)
    assert client.get_many([*values, "none"], table=2) == [*([None] * len(values)), b""]
    assert client.get(b"k" * limits.KEY_BYTES_MAX, table=limits.TABLES_MAX - 1) == b"elsewhere"


def test_as_much_as_a_packet_takes(client: Client) -> None:
    with client.transaction() as tx:
        for key in range(ENTRIES_MAX):
            tx.put(bytes((key,)), b"")
    assert client.get_many([bytes((key,)) for key in range(ENTRIES_MAX)]) == [b""] * ENTRIES_MAX
    with pytest.raises(TransactionTooLargeError), client.transaction() as tx:
        for key in range(ENTRIES_MAX + 1):
            tx.delete(bytes((key,)))
    assert client.get(b"\0") == b""


def test_a_quota_that_is_too_small_leaves_nothing(server: RunningServer) -> None:
    admin = server.admin()
    tenant = admin.create_tenant(quota_bytes=1 << 16)
    client = server.client(tenant, timeout=TIMEOUT_SECONDS)
    client.put(b"there", b"1")
    before = admin.get_tenant(tenant.tenant).bytes_used
    admin.limit_tenant(tenant.tenant, quota_bytes=before + 200)
    with pytest.raises(QuotaExceededError), client.transaction() as tx:
        tx.delete(b"there")
        tx.put(b"made", bytes(1000))
    assert (client.get(b"there"), client.get(b"made")) == (b"1", None)
    assert admin.get_tenant(tenant.tenant).bytes_used == before


def test_a_repeated_packet_has_the_first_reply(server: RunningServer, tenant: TenantInfo, client: Client) -> None:
    raw = RawSocket(server.info)

    def ask(sequence: int, *entries: bytes) -> tuple[int, int]:
        """Status and version; repeated while there is no reply, or BUSY."""
        body = b"".join(entries)
        header = Header(
            tenant=tenant.tenant, token=tenant.token, opcode=Opcode.TRANSACT, client=97, sequence=sequence, acknowledged=1,
            value_length=len(body),
        )  # fmt: skip
        replies = []

        def is_answered() -> bool:
            raw.send(header.pack() + body)
            reply = raw.receive()
            if reply is None or reply[0].status == 12 or reply[0].sequence != sequence:
                return False
            replies.append((reply[0].status, reply[0].object_version))
            return True

        wait_for(is_answered, TIMEOUT_SECONDS, "a reply")
        return replies[0]

    client.put(b"b", b"1")
    version = client.get_with_version(b"b")[1]
    with Killer(server, 5, KILL_EVERY_SECONDS):
        for sequence, entries in (
            (1, [puts(b"a", b"1"), puts(b"b", b"2", version)]), (2, [puts(b"a", b"2", version)]), (3, [deletes(b"a")]),
        ):  # fmt: skip
            first = ask(sequence, *entries)
            assert first[0] == (11 if sequence == 2 else 0)
            client.put(b"a", b"another's")
            assert [ask(sequence, *entries) for _ in range(5)] == [first] * 5
            assert client.get(b"a") == b"another's"
    raw.close()


@pytest.mark.parametrize("kills", [False, True])
def test_a_counter_is_counted_by_transactions_and_invokes_alike(
    server: RunningServer, tenant: TenantInfo, client: Client, kills: bool
) -> None:
    """Two threads of each, through a network that loses and repeats; one counter, and no update is lost or done twice."""
    client.install(INCREMENT)
    with Proxy(server, Faults(), seed=6) as proxy:

        def work(slot: int) -> None:
            with proxy.client(tenant, timeout=TIMEOUT_SECONDS) as one:
                for _ in range(EACH):
                    if slot % 2:
                        one.invoke("increment", COUNTER)
                    else:
                        one.transact(partial(count_up, COUNTER), tries=TRIES)

        killer = Killer(server, 6, KILL_EVERY_SECONDS) if kills else None
        try:
            at_once(partial(work, slot) for slot in range(THREADS))
        finally:
            if killer:
                killer.__exit__()
        assert proxy.counts["repeated"] > 0 and proxy.counts["lost"] > 0
    assert number(client.get(COUNTER, table=1)) == THREADS * EACH


def transfer(source: int, target: int, amount: int, receipt: bytes, tx: Transaction) -> None:
    """Move money, and leave a receipt: of each acknowledged transfer there is one, and each is of one that was begun."""
    accounts = [number(value) for value in tx.get_many([KEYS[source], KEYS[target]], table=BANK)]
    tx.put(KEYS[source], (accounts[0] - amount & (1 << 64) - 1).to_bytes(8, "little"), table=BANK)
    tx.put(KEYS[target], (accounts[1] + amount).to_bytes(8, "little"), table=BANK)
    assert tx.get(receipt, table=MADE) is None, "done twice"
    tx.put(receipt, struct.pack("<QQQ", source, target, amount), table=MADE)


def bank_with(one: Client, banker: int) -> tuple[list[int], int]:
    """Transfers of one process: what they did to each account, and how many conflicted at least once."""
    dice, net, conflicts = random.Random(banker), [0] * ACCOUNTS, 0
    with one:
        for made in range(TRANSFERS):
            source, target = dice.sample(range(ACCOUNTS), 2)
            amount = dice.randrange(1, 10)
            work = partial(transfer, source, target, amount, b"%d %d" % (banker, made))
            try:
                one.transact(work, tries=1)
            except ConflictError:
                conflicts += 1
                one.transact(work, tries=TRIES)
            net[source] -= amount
            net[target] += amount
    return net, conflicts


def add_up(one: Client, times: int) -> set[int]:
    """All sums that are seen, by packets that each hold all accounts and by several gets."""
    sums = set()

    def all_at_once(tx: Transaction) -> int:
        return sum(number(value) for value in tx.get_many(KEYS, table=BANK)) & (1 << 64) - 1

    def in_pieces(tx: Transaction) -> int:
        size = ACCOUNTS // 4
        return sum(
            number(value)
            for piece in range(0, ACCOUNTS, size)
            for value in tx.get_many(KEYS[piece : piece + size], table=BANK)
        ) & (1 << 64) - 1  # fmt: skip

    with one:
        for turn in range(times):
            sums.add(one.transact(all_at_once if turn % 4 else in_pieces, tries=TRIES))
    return sums


def test_a_bank_keeps_its_money_while_workers_are_killed(server: RunningServer, tenant: TenantInfo, client: Client) -> None:
    """In processes of their own; each acknowledged transfer is there once."""
    client.put_many([(key, START.to_bytes(8, "little")) for key in KEYS], table=BANK)
    patient = partial(server.client, tenant, timeout=TIMEOUT_SECONDS)
    bankers = [start(partial(bank_with, patient(), banker)) for banker in range(BANKERS)]
    reader = start(partial(add_up, patient(), TRANSFERS))
    with Killer(server, 7, KILL_EVERY_SECONDS) as killer:
        told = [banker() for banker in bankers]
        sums = reader()
        wait_for(lambda: killer.kills >= KILLS_MIN, TIMEOUT_SECONDS, "kills")
    assert sum(conflicts for _, conflicts in told) > 0
    assert sums == {ACCOUNTS * START}
    nets = [net for net, _ in told]
    found = [number(value) for value in client.get_many(KEYS, table=BANK)]
    expected = [START + sum(net[account] for net in nets) for account in range(ACCOUNTS)]
    assert found == [balance & (1 << 64) - 1 for balance in expected]
    receipts = [b"%d %d" % (banker, made) for banker in range(BANKERS) for made in range(TRANSFERS)]
    assert None not in client.get_many(receipts, table=MADE)
