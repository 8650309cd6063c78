"""What the Lua scripts of common Redis clients do: locks, counters in a window of time, compare and swap.

The Redis protocol runs them in place of a script that it knows. ``table`` is the connection's. A number that comes and goes as
text is a counter as Redis keeps it. Several results are: what the reply is (ANSWER and the number, NOTHING, DONE, or an error),
and the number.
"""

from splinter.ext import Buffer, Store, View, buffer, extension, f64, i64, u64

ANSWER = 0
NOTHING = 1
DONE = 2
NO_INTEGER = 3
TOO_LARGE = 4
NO_TIME = 5

DIGITS_MAX = 20  # of a number with its sign
LARGEST = 0x7FFFFFFFFFFFFFFF
TENTH = LARGEST // 10
LONGEST = 3000000000.0  # seconds: longer than an object with an end may live
SECONDS = b"EX"
MILLISECONDS = b"PX"


@extension
def redis_release(db: Store, table: u64, key: bytes, token: bytes) -> i64:
    """Delete an object whose value is ``token``: 1; else 0."""
    found = db.get(table, key)
    if found is None or found != token:
        return 0
    db.delete(table, key)
    return 1


@extension
def redis_extend(db: Store, table: u64, key: bytes, token: bytes, milliseconds: i64, replaces: bytes) -> i64:
    """Have a lock live longer; ``replaces`` b"0": by so much, else from now on. 0 where it is another's, or lives for ever."""
    if not is_held(db, table, key, token):
        return 0
    left = db.ttl(table, key)
    if left > LONGEST:
        return 0
    live_for(db, table, key, seconds(milliseconds) + left if replaces == b"0" else seconds(milliseconds))
    return 1


@extension
def redis_extend_by(db: Store, table: u64, key: bytes, token: bytes, milliseconds: i64) -> i64:
    """Have a lock live longer by so much."""
    if not is_held(db, table, key, token):
        return 0
    left = db.ttl(table, key)
    if left > LONGEST:
        return 0
    live_for(db, table, key, seconds(milliseconds) + left)
    return 1


@extension
def redis_live_for(db: Store, table: u64, key: bytes, token: bytes, milliseconds: i64) -> i64:
    """Have a lock live for so long from now on; 0 where it is another's."""
    if not is_held(db, table, key, token):
        return 0
    live_for(db, table, key, seconds(milliseconds))
    return 1


@extension
def redis_left(db: Store, table: u64, key: bytes, token: bytes) -> i64:
    """Milliseconds that a lock still lives; 0 where it is another's, or lives for ever."""
    if not is_held(db, table, key, token):
        return 0
    left = db.ttl(table, key)
    return 0 if left > LONGEST else i64(left * 1000.0)


@extension
def redis_swap(db: Store, table: u64, key: bytes, value: bytes, expected: bytes) -> tuple[u64, i64]:
    """Put ``value`` in the place of ``expected``: DONE; else 0."""
    if not is_held(db, table, key, expected):
        return ANSWER, 0
    db.put(table, key, value)
    return DONE, 0


@extension
def redis_swap_for(db: Store, table: u64, key: bytes, value: bytes, expected: bytes, unit: bytes, time: i64) -> tuple[u64, i64]:
    """The same of an object that lives for so long, in SECONDS or MILLISECONDS."""
    if not is_held(db, table, key, expected):
        return ANSWER, 0
    if time <= 0 or (unit != SECONDS and unit != MILLISECONDS):
        return NO_TIME, 0
    db.put(table, key, value, ttl=f64(time) if unit == SECONDS else seconds(time))
    return DONE, 0


@extension
def redis_add(db: Store, table: u64, key: bytes, by: i64) -> tuple[u64, i64]:
    """Add to a counter, 0 where there is none; it keeps its end."""
    text = buffer(DIGITS_MAX)
    return added(db, table, key, by, text)


@extension
def redis_add_to(db: Store, table: u64, key: bytes, by: i64) -> tuple[u64, i64]:
    """Add to a counter; NOTHING where there is none."""
    if not db.exists(table, key):
        return NOTHING, 0
    text = buffer(DIGITS_MAX)
    return added(db, table, key, by, text)


@extension
def redis_raise(db: Store, table: u64, key: bytes, to: i64) -> tuple[u64, i64]:
    """Set a counter to a greater number; NOTHING where that is not greater."""
    found = db.get(table, key)
    if found is not None:
        is_number, number = number_of(found)
        if is_number and number >= to:
            return NOTHING, 0
    text = buffer(DIGITS_MAX)
    put_number(db, table, key, to, 0.0, text)
    return ANSWER, to


@extension
def redis_count(db: Store, table: u64, key: bytes, window: i64, by: i64) -> tuple[u64, i64]:
    """Add to a counter that begins with its first addition, and ends ``window`` seconds later."""
    text = buffer(DIGITS_MAX)
    kind, total = added(db, table, key, by, text)
    if kind == ANSWER and total == by:
        live_for(db, table, key, f64(window))
    return kind, total


@extension
def redis_count_one(db: Store, table: u64, key: bytes, window: i64) -> tuple[u64, i64]:
    """The same by one."""
    text = buffer(DIGITS_MAX)
    kind, total = added(db, table, key, 1, text)
    if kind == ANSWER and total == 1:
        live_for(db, table, key, f64(window))
    return kind, total


def is_held(db: Store, table: u64, key: bytes, token: bytes) -> bool:
    found = db.get(table, key)
    return found is not None and found == token


def seconds(milliseconds: i64) -> f64:
    return f64(milliseconds) / 1000.0


def live_for(db: Store, table: u64, key: bytes, time: f64) -> None:
    """As Redis: what ends now or before is not there any more."""
    if time <= 0.0:
        db.delete(table, key)
    else:
        db.expire(table, key, time)


def added(db: Store, table: u64, key: bytes, by: i64, text: Buffer) -> tuple[u64, i64]:
    """``text``: where the number is written."""
    found = db.get(table, key)
    if found is None:
        put_number(db, table, key, by, 0.0, text)
        return ANSWER, by
    is_number, number = number_of(found)
    if not is_number:
        return NO_INTEGER, 0
    if (by > 0 and number > LARGEST - by) or (by < 0 and number < -LARGEST - 1 - by):
        return TOO_LARGE, 0
    left = db.ttl(table, key)
    put_number(db, table, key, number + by, 0.0 if left > LONGEST else left, text)
    return ANSWER, number + by


def number_of(text: View) -> tuple[bool, i64]:
    """Whether it is a whole number as Redis writes it: no plus, no zeros in front; and that number, built downwards."""
    length = len(text)
    if length == 0 or length > DIGITS_MAX:
        return False, 0
    start: u64 = 1 if text.u8(0) == 45 else 0
    if start == length or (text.u8(start) == 48 and length != 1):
        return False, 0
    number: i64 = 0
    for place in range(start, length):
        digit = i64(text.u8(place)) - 48
        if digit < 0 or digit > 9 or number < -TENTH or (number == -TENTH and digit > 8):
            return False, 0
        number = number * 10 - digit
    if start == 1:
        return True, number
    if number < -LARGEST:
        return False, 0
    return True, -number


def put_number(db: Store, table: u64, key: bytes, number: i64, time: f64, text: Buffer) -> None:
    write_number(text, number)
    if time > 0.0:
        db.put(table, key, text, ttl=time)
    else:
        db.put(table, key, text)


def write_number(text: Buffer, number: i64) -> None:
    """Downwards, as the lowest number has no positive."""
    rest = number
    if number < 0:
        text.append_u8(45)
    else:
        rest = -number
    unit: i64 = 1
    while unit < 1000000000000000000 and rest <= -10 * unit:
        unit = unit * 10
    while unit > 0:
        digit = -(rest // unit)
        if rest % unit != 0:
            digit = digit - 1
        text.append_u8(u64(48 + digit))
        rest = rest + digit * unit
        unit = unit // 10
