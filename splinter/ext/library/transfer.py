"""Move money between accounts, as YCSB+T does: none is ever lost or made, whatever dies when.

An account, in table ``ACCOUNTS`` under its number, is ``u64 balance``.
"""

from splinter.ext import Error, Store, extension, u64

ACCOUNTS = 40

NO_ACCOUNT = 1
SAME_ACCOUNT = 2


@extension
def account_open(db: Store, account: u64, balance: u64) -> bool:
    """Open an account; False, and nothing is changed, when there is one already."""
    if db.exists(ACCOUNTS, account):
        return False
    db.put(ACCOUNTS, account, balance)
    return True


@extension
def account_balance(db: Store, account: u64) -> u64:
    """What is in an account; error 1 when there is no such account."""
    return balance_of(db, account)


@extension
def transfer(db: Store, sender: u64, receiver: u64, amount: u64) -> bool:
    """Move ``amount``; False, and nothing is changed, when the sender has less.

    Error 1: there is no such account. Error 2: both accounts are the same.
    """
    if sender == receiver:
        raise Error(SAME_ACCOUNT)
    left = balance_of(db, sender)
    right = balance_of(db, receiver)
    if left < amount:
        return False
    db.put(ACCOUNTS, sender, left - amount)
    db.put(ACCOUNTS, receiver, right + amount)
    return True


def balance_of(db: Store, account: u64) -> u64:
    found = db.get(ACCOUNTS, account)
    if found is None:
        raise Error(NO_ACCOUNT)
    return found.u64(0)
