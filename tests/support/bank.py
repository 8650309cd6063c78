"""A bank in a storm of kills: clients of one tenant move money between accounts, and add all of them up."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from splinter.client import Client
from splinter.errors import TaskKilledError
from tests.support.kill_storm import PROCESSES, THREADS, Crew
from tests.support.storm_member import Member, Tally

ACCOUNTS, BALANCE = 64, 1000
TOTAL = ACCOUNTS * BALANCE
_TABLE, _TRANSFERS = 1, 2
_YIELDS = (0, 0, 1, 30, 300)  # in the midst of an invoke
_AMOUNT_MAX = 200
_GRINDS = 4  # one client of so many does nothing but large commits, so that kills find workers in the midst of one
_ID_BITS = 32  # of which no client uses up all
_RECORD = struct.Struct("<4Q")  # sender, receiver, amount, times that it was done

EXTENSIONS = f"""
from splinter.ext import Store, buffer, extension, u64

@extension
def transfer(db: Store, sender: u64, receiver: u64, amount: u64, number: u64, yields: u64) -> bool:
    times = u64(1)
    earlier = db.get({_TRANSFERS}, number)
    if earlier is not None:
        times = earlier.u64(24) + 1
    has = db.get({_TABLE}, sender).u64(0)
    for _ in range(yields):
        yield
    gets = db.get({_TABLE}, receiver).u64(0)
    if has < amount:
        return False
    db.put({_TABLE}, sender, has - amount)
    for _ in range(yields):
        yield
    db.put({_TABLE}, receiver, gets + amount)
    record = buffer(32)
    record.append_u64(sender)
    record.append_u64(receiver)
    record.append_u64(amount)
    record.append_u64(times)
    db.put({_TRANSFERS}, number, record)
    return True

@extension
def total(db: Store, yields: u64) -> u64:
    sum = u64(0)
    for account in range({ACCOUNTS}):
        if account == {ACCOUNTS // 2}:
            for _ in range(yields):
                yield
        sum += db.get({_TABLE}, account).u64(0)
    return sum

@extension
def rewrite(db: Store) -> u64:
    sum = u64(0)
    for account in range({ACCOUNTS}):
        balance = db.get({_TABLE}, account).u64(0)
        db.put({_TABLE}, account, balance)
        sum += balance
    return sum
"""


@dataclass
class BankTally(Tally):
    """What acknowledged transfers have made of the accounts, beside what each tally has."""

    changes: Counter[int] = field(default_factory=Counter)
    transfers: int = 0  # acknowledged
    refused: int = 0  # for want of money
    sums: int = 0

    def add(self, other: Self) -> None:
        """Take another's in."""
        super().add(other)
        self.changes.update(other.changes)
        self.transfers += other.transfers
        self.refused += other.refused
        self.sums += other.sums

    def __str__(self) -> str:
        return f"{self.transfers} transfers done, {self.refused} refused, {self.sums} sums of all accounts"


class Banker(Member):
    """Transfers have an id that no other has; it remembers what became of each."""

    tally: BankTally

    def __init__(self, client: Client, number: int, seed: int) -> None:
        super().__init__(client, number, seed)
        self.tally = BankTally()
        self._next = number << _ID_BITS
        self._records: dict[int, bytes | None] = {}  # by id; None: nothing of it was done
        self.operations = [self._rewrite] if number % _GRINDS == 0 else [*[self._transfer] * 6, self._total, self._rewrite]
        self.finals = [self._read_transfers]

    def _transfer(self) -> None:
        sender, receiver = self._dice.sample(range(ACCOUNTS), 2)
        amount, transfer = self._dice.randint(1, _AMOUNT_MAX), self._next
        self._next += 1
        try:
            was_done = self._client.invoke("transfer", sender, receiver, amount, transfer, self._dice.choice(_YIELDS))
        except TaskKilledError:  # nothing of it is done
            was_done = False
            self.tally.killed += 1
        else:
            self.tally.transfers += was_done
            self.tally.refused += not was_done
        self._records[transfer] = _RECORD.pack(sender, receiver, amount, 1) if was_done else None
        if was_done:
            self.tally.changes.update({sender: -amount, receiver: amount})
        self._wrote()

    def _total(self) -> None:
        self._check_sum(self._client.invoke("total", self._dice.choice(_YIELDS)))

    def _rewrite(self) -> None:
        """A commit of all accounts, which leaves them as they are."""
        self._check_sum(self._client.invoke("rewrite"))

    def _check_sum(self, found: int) -> None:
        self.tally.requests += 1
        self.tally.sums += 1
        if found != TOTAL:
            self.tally.wrong.append(f"client {self._number}: all accounts have {found}")

    def _read_transfers(self) -> None:
        found = self._client.get_many(self._records, table=_TRANSFERS)
        for (transfer, expected), value in zip(self._records.items(), found, strict=True):
            if value != expected:
                done, wanted = (each and _RECORD.unpack(each) for each in (value, expected))
                self.tally.lost.append(f"client {self._number}, transfer {transfer}: {done} in place of {wanted}")


def open_accounts(client: Client) -> None:
    """All with the same balance."""
    client.put_many(((account, struct.pack("<Q", BALANCE)) for account in range(ACCOUNTS)), table=_TABLE)


def check_balances(client: Client, tally: Tally) -> list[str]:
    """Whether each account has what acknowledged transfers have left of it, no more and no less."""
    assert isinstance(tally, BankTally)
    found = client.multiget(range(ACCOUNTS), table=_TABLE)
    wanted = [struct.pack("<Q", BALANCE + tally.changes[account]) for account in range(ACCOUNTS)]
    return [
        f"account {account}: {value and int.from_bytes(value, 'little')} in place of {int.from_bytes(expected, 'little')}"
        for account, (value, expected) in enumerate(zip(found, wanted, strict=True))
        if value != expected
    ]


BANK = Crew(
    Banker, EXTENSIONS, share=PROCESSES * THREADS, is_moved=True, prepare=open_accounts, check=check_balances,
)  # fmt: skip
