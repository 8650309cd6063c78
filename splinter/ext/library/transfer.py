"""Move money between accounts, as YCSB+T does: none is ever lost or made, whatever dies when.

Only single objects change atomically, so a transfer is two of them linked by an intent. An account, in table ``ACCOUNTS``, is

    u64 balance
    u64 outgoing id, u64 receiver, u64 amount    taken from the balance, not yet known to have arrived; id 0: none
    u64 incoming id, u64 sender                  the last that arrived

1. The sender's balance goes down and the outgoing part is set, in one compare-and-put. The id is the version that this
   replaces, which no object ever has again. 2. The receiver's balance goes up and its incoming part is set, in one
compare-and-put. 3. The outgoing part is cleared. Whoever finds an outgoing part finishes it first, so a transfer that lost
its worker is finished by the next that touches the sender, or by ``settle``. It arrives once: a receiver keeps an
incoming part until the sender's outgoing part is cleared, and money is added only while the sender still has it outgoing.
At any moment the balances, and what is outgoing and has not arrived, sum up to the same.
"""

from splinter.ext import Buffer, Error, Store, buffer, extension, u64

ACCOUNTS = 40

NO_ACCOUNT = 1
SAME_ACCOUNT = 2

OUTGOING = 8
RECEIVER = 16
AMOUNT = 24
INCOMING = 32
SENDER = 40
ACCOUNT_BYTES = 48


@extension
def account_open(db: Store, account: u64, balance: u64) -> bool:
    """Open an account; False, and nothing is changed, when there is one already."""
    record = buffer(ACCOUNT_BYTES)
    write(record, balance, 0, 0, 0, 0, 0)
    return db.put_if(ACCOUNTS, account, record, 0)


@extension
def account_balance(db: Store, account: u64) -> u64:
    """What is in an account, once its transfers have arrived; error 1 when there is no such account."""
    record = buffer(ACCOUNT_BYTES)
    while not finish(db, account, record):
        pass
    found = db.get(ACCOUNTS, account)
    if found is None:
        raise Error(NO_ACCOUNT)
    return found.u64(0)


@extension
def transfer(db: Store, sender: u64, receiver: u64, amount: u64) -> bool:
    """Move ``amount``; False, and nothing is changed, when the sender has less.

    Error 1: there is no such account. Error 2: both accounts are the same.
    """
    if sender == receiver:
        raise Error(SAME_ACCOUNT)
    if not db.exists(ACCOUNTS, receiver):
        raise Error(NO_ACCOUNT)
    record = buffer(ACCOUNT_BYTES)
    is_taken = False
    while not is_taken:
        while not finish(db, sender, record):
            pass
        version = db.version(ACCOUNTS, sender)
        found = db.get(ACCOUNTS, sender)
        if found is None:
            raise Error(NO_ACCOUNT)
        if found.u64(OUTGOING) == 0:
            if found.u64(0) < amount:
                return False
            write(record, found.u64(0) - amount, version, receiver, amount, found.u64(INCOMING), found.u64(SENDER))
            is_taken = db.put_if(ACCOUNTS, sender, record, version)
    while not finish(db, sender, record):
        pass
    return True


@extension
def settle(db: Store, account: u64) -> None:
    """Finish what left this account and lost its worker on the way."""
    record = buffer(ACCOUNT_BYTES)
    while not finish(db, account, record):
        pass


def finish(db: Store, sender: u64, record: Buffer) -> bool:
    """One try to bring the sender's outgoing money to its receiver; True when there is none (any more)."""
    found = db.get(ACCOUNTS, sender)
    if found is None or found.u64(OUTGOING) == 0:
        return True
    outgoing = found.u64(OUTGOING)
    receiver = found.u64(RECEIVER)
    # The receiver's version first: if the money arrives behind our back, it is another one, and our put fails.
    version = db.version(ACCOUNTS, receiver)
    to = db.get(ACCOUNTS, receiver)
    if to is None:
        raise Error(NO_ACCOUNT)
    if to.u64(INCOMING) != outgoing:
        other = db.get(ACCOUNTS, to.u64(SENDER))
        if other is not None and to.u64(INCOMING) != 0 and other.u64(OUTGOING) == to.u64(INCOMING):
            clear(db, to.u64(SENDER), to.u64(INCOMING), record)
            return False
        now = db.get(ACCOUNTS, sender)
        if now is None or now.u64(OUTGOING) != outgoing:
            return False
        write(record, to.u64(0) + found.u64(AMOUNT), to.u64(OUTGOING), to.u64(RECEIVER), to.u64(AMOUNT), outgoing, sender)
        if not db.put_if(ACCOUNTS, receiver, record, version):
            return False
    clear(db, sender, outgoing, record)
    return False


def clear(db: Store, sender: u64, outgoing: u64, record: Buffer) -> None:
    """Forget outgoing money that has arrived, unless another worker was first."""
    version = db.version(ACCOUNTS, sender)
    found = db.get(ACCOUNTS, sender)
    if found is not None and found.u64(OUTGOING) == outgoing:
        write(record, found.u64(0), 0, 0, 0, found.u64(INCOMING), found.u64(SENDER))
        db.put_if(ACCOUNTS, sender, record, version)


def write(record: Buffer, balance: u64, outgoing: u64, receiver: u64, amount: u64, incoming: u64, sender: u64) -> None:
    record.clear()
    record.append_u64(balance)
    record.append_u64(outgoing)
    record.append_u64(receiver)
    record.append_u64(amount)
    record.append_u64(incoming)
    record.append_u64(sender)
