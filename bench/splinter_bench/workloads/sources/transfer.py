"""Move money between two accounts, each a u64: two reads, two writes."""

from splinter.ext import Error, Store, extension, u64

NO_ACCOUNT = 1


@extension
def deposit(db: Store, table: u64, account: u64, amount: u64) -> u64:
    """Open an account, or put something into it; returns the balance."""
    found = db.get(table, account)
    balance = amount if found is None else found.u64(0) + amount
    db.put(table, account, balance)
    return balance


@extension
def transfer(db: Store, table: u64, sender: u64, receiver: u64, amount: u64) -> bool:
    """False, and nothing is changed, when the sender has less. Error 1: there is no such account, or but one."""
    source, target = db.get(table, sender), db.get(table, receiver)
    if source is None or target is None or sender == receiver:
        raise Error(NO_ACCOUNT)
    if source.u64(0) < amount:
        return False
    db.put(table, sender, source.u64(0) - amount)
    db.put(table, receiver, target.u64(0) + amount)
    return True
