# mypy: ignore-errors
"""TAO: a social graph of objects and associations (Bronson et al., USENIX ATC'13).

An object is ``u64 type, data`` under its id in table ``OBJECTS``. An association (id1, atype, id2) has a time and data. All
that leave id1 with one atype are a list, newest first, in pages that a head names. Records in pages and replies:

    u64 id2, u64 time, u16 bytes of data, data

Head, in table ``LISTS`` under (u64 id1, u64 atype): ``u64 associations, u64 next page number``, then for each page ``u64 time
of its first record, u32 page number, u32 records``. Pages are in table ``PAGES`` under (u64 id1, u64 atype, u64 page number).
"""

from splinter.ext import Buffer, Error, Store, View, buffer, extension, u64

OBJECTS = 32
LISTS = 33
PAGES = 34
COUNTERS = 35
LAST_ID = b"tao: last id"  # of the objects, in COUNTERS

TOO_MUCH_DATA = 1  # an association's data
LIST_FULL = 2

OBJECT_BYTES_MAX = 1408  # no more comes in one packet
TYPE_BYTES = 8
LIST_KEY_BYTES = 16
PAGE_KEY_BYTES = 24
PAGE_NUMBER = 16  # place in a page's key

HEAD_BYTES = 16
HEAD_NEXT_PAGE = 8
EMPTY_HEAD = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
ENTRY_BYTES = 16  # of the head, for each page
ENTRY_PAGE = 8
ENTRY_RECORDS = 12
HEAD_BYTES_MAX = 2064  # 128 pages

RECORD_BYTES = 18  # without data
RECORD_TIME = 8
RECORD_LENGTH = 16
DATA_BYTES_MAX = 255
PAGE_BYTES_MAX = 1408  # as much as one reply carries: 78 records without data
NO_SPLIT = 65536


@extension
def obj_add(db: Store, otype: u64, data: bytes) -> u64:
    """Make an object and return its id; ids count from 1."""
    value = buffer(OBJECT_BYTES_MAX)
    value.append_u64(otype)
    value.append(data)
    id = db.add(COUNTERS, LAST_ID, 1)
    db.put(OBJECTS, id, value)
    return id


@extension
def obj_get(db: Store, id: u64) -> View:
    """``u64 type, data`` of an object; empty when there is none."""
    value = db.get(OBJECTS, id)
    if value is None:
        return b""
    return value


@extension
def obj_update(db: Store, id: u64, data: bytes) -> bool:
    """Replace an object's data; False when there is no such object."""
    value = buffer(OBJECT_BYTES_MAX)
    old = db.get(OBJECTS, id)
    if old is None:
        return False
    value.append(old[:TYPE_BYTES])
    value.append(data)
    db.put(OBJECTS, id, value)
    return True


@extension
def obj_delete(db: Store, id: u64) -> bool:
    """Remove an object, not its associations; False when there is no such object."""
    return db.delete(OBJECTS, id)


@extension
def assoc_add(db: Store, id1: u64, atype: u64, id2: u64, time: u64, data: bytes) -> bool:
    """Add an association, or replace its time and data; tells whether it is new.

    Error 1: more than 255 bytes of data. Error 2: the list is full, which is after 5,000 to 10,000 associations without data.
    """
    if len(data) > DATA_BYTES_MAX:
        raise Error(TOO_MUCH_DATA)
    key = buffer(PAGE_KEY_BYTES)
    head = buffer(HEAD_BYTES_MAX)
    page = buffer(PAGE_BYTES_MAX)
    name(key, id1, atype)
    return not change(db, key, id2, True, time, data, head, page)


@extension
def assoc_delete(db: Store, id1: u64, atype: u64, id2: u64) -> bool:
    """Remove an association; False when there is no such association."""
    key = buffer(PAGE_KEY_BYTES)
    head = buffer(HEAD_BYTES_MAX)
    page = buffer(PAGE_BYTES_MAX)
    name(key, id1, atype)
    return change(db, key, id2, False, 0, b"", head, page)


@extension
def assoc_count(db: Store, id1: u64, atype: u64) -> u64:
    """How many associations the list has."""
    key = buffer(LIST_KEY_BYTES)
    key.append_u64(id1)
    key.append_u64(atype)
    head = db.get(LISTS, key)
    return 0 if head is None else head.u64(0)


@extension
def assoc_get(db: Store, id1: u64, atype: u64, id2s: bytes, high: u64, low: u64) -> View:
    """Records of the list with an id2 among ``id2s`` (packed u64) and low <= time <= high, newest first.

    Ends with CAPACITY when they do not fit one reply: ask for fewer at once.
    """
    reply = buffer(PAGE_BYTES_MAX)
    key = buffer(PAGE_KEY_BYTES)
    name(key, id1, atype)
    collect(db, key, id2s, 0, high, low, len(id2s) // 8, reply)
    return reply[:]


@extension
def assoc_range(db: Store, id1: u64, atype: u64, position: u64, limit: u64) -> View:
    """Up to ``limit`` records from the one at ``position`` (the newest is 0) on, or as many as fit one reply."""
    reply = buffer(PAGE_BYTES_MAX)
    key = buffer(PAGE_KEY_BYTES)
    name(key, id1, atype)
    collect(db, key, b"", position, 0xFFFFFFFFFFFFFFFF, 0, limit, reply)
    return reply[:]


@extension
def assoc_time_range(db: Store, id1: u64, atype: u64, high: u64, low: u64, limit: u64) -> View:
    """Up to ``limit`` records with low <= time <= high, newest first, or as many as fit one reply."""
    reply = buffer(PAGE_BYTES_MAX)
    key = buffer(PAGE_KEY_BYTES)
    name(key, id1, atype)
    collect(db, key, b"", 0, high, low, limit, reply)
    return reply[:]


def name(key: Buffer, id1: u64, atype: u64) -> None:
    """Make the key of a list's pages; its first 16 bytes are the list's own."""
    key.clear()
    key.append_u64(id1)
    key.append_u64(atype)
    key.append_u64(0)


def collect(db: Store, key: Buffer, id2s: bytes, position: u64, high: u64, low: u64, limit: u64, reply: Buffer) -> None:
    """Append records to the reply; with ``id2s`` only those."""
    head = db.get(LISTS, key[:LIST_KEY_BYTES])
    if head is None:
        return
    is_done = limit == 0
    entry = HEAD_BYTES
    while entry < len(head) and not is_done:
        following = entry + ENTRY_BYTES
        records = head.u32(entry + ENTRY_RECORDS)
        if following < len(head) and head.u64(following) > high:  # all of the page is newer
            entry = following
            continue
        if position >= records:
            position -= records
            entry = following
            continue
        key.set_u64(PAGE_NUMBER, head.u32(entry + ENTRY_PAGE))
        page = db.get(PAGES, key)
        start = 0
        while start < len(page) and not is_done:
            size = RECORD_BYTES + page.u16(start + RECORD_LENGTH)
            time = page.u64(start + RECORD_TIME)
            if time < low:
                is_done = True
            elif time <= high and (len(id2s) == 0 or contains(id2s, page.u64(start))):
                if position > 0:
                    position -= 1
                elif len(id2s) == 0 and len(reply) + size > PAGE_BYTES_MAX:
                    is_done = True
                else:
                    reply.append(page[start : start + size])
                    limit -= 1
                    is_done = limit == 0
            start += size
        entry = following


def contains(id2s: bytes, id2: u64) -> bool:
    is_found = False
    for place in range(len(id2s) // 8):
        if id2s.u64(place * 8) == id2:
            is_found = True
            break
    return is_found


def change(
    db: Store, key: Buffer, id2: u64, is_added: bool, time: u64, data: bytes, new_head: Buffer, new_page: Buffer
) -> bool:  # fmt: skip
    """Take (id2) out of the list, put it in anew if ``is_added``; whether it was there."""
    head = db.get(LISTS, key[:LIST_KEY_BYTES])
    if head is None:
        if not is_added:
            return False
        head = EMPTY_HEAD

    # Where is the old record, and where does the new one go?
    target = HEAD_BYTES
    target_page = b""
    old = 0  # place of an entry in the head; 0: none
    old_start = 0
    old_size = 0
    old_page = b""
    for entry in range(HEAD_BYTES, len(head), ENTRY_BYTES):
        key.set_u64(PAGE_NUMBER, head.u32(entry + ENTRY_PAGE))
        page = db.get(PAGES, key)
        if entry == HEAD_BYTES or head.u64(entry) > time:
            target = entry
            target_page = page
        start = 0
        while start < len(page):
            size = RECORD_BYTES + page.u16(start + RECORD_LENGTH)
            if page.u64(start) == id2:
                old = entry
                old_start = start
                old_size = size
                old_page = page
            start += size
    if old == 0 and not is_added:
        return False
    if is_added and len(head) == HEAD_BYTES_MAX and len(target_page) + RECORD_BYTES + len(data) > PAGE_BYTES_MAX:
        raise Error(LIST_FULL)

    # Write the pages anew that change, then a head that names them.
    next_page = head.u64(HEAD_NEXT_PAGE)
    new_head.clear()
    new_head.append_u64(head.u64(0) + (1 if is_added else 0) - (1 if old != 0 else 0))
    new_head.append_u64(0)
    for entry in range(HEAD_BYTES, max(len(head), HEAD_BYTES + ENTRY_BYTES), ENTRY_BYTES):
        is_pending = is_added and entry == target
        if entry != old and not is_pending:
            new_head.append(head[entry : entry + ENTRY_BYTES])
            continue
        page = target_page if is_pending else old_page
        new_size = RECORD_BYTES + len(data) if is_pending else 0
        total = len(page) + new_size - (old_size if entry == old else 0)
        split = NO_SPLIT
        if total > PAGE_BYTES_MAX:
            if page.u64(RECORD_TIME) <= time:
                split = new_size  # in front: the full page stays full
            else:
                split = total // 2
        is_whole = entry < len(head)  # what comes first of a page keeps its number
        records = 0
        start = 0
        new_page.clear()
        while start < len(page) or is_pending:
            if is_pending and (start == len(page) or page.u64(start + RECORD_TIME) <= time):
                new_page.append_u64(id2)
                new_page.append_u64(time)
                new_page.append_u16(len(data))
                new_page.append(data)
                is_pending = False
                records += 1
            else:
                size = RECORD_BYTES + page.u16(start + RECORD_LENGTH)
                if entry != old or start != old_start:
                    new_page.append(page[start : start + size])
                    records += 1
                start += size
            is_last = start == len(page) and not is_pending
            if len(new_page) >= split or (is_last and len(new_page) > 0):
                number = next_page
                if is_whole:
                    number = head.u32(entry + ENTRY_PAGE)
                    is_whole = False
                else:
                    next_page += 1
                key.set_u64(PAGE_NUMBER, number)
                db.put(PAGES, key, new_page)
                new_head.append_u64(new_page.u64(RECORD_TIME))
                new_head.append_u32(number)
                new_head.append_u32(records)
                new_page.clear()
                records = 0
                split = NO_SPLIT
        if is_whole:  # nothing is left of it
            key.set_u64(PAGE_NUMBER, head.u32(entry + ENTRY_PAGE))
            db.delete(PAGES, key)
    new_head.set_u64(HEAD_NEXT_PAGE, next_page)
    db.put(LISTS, key[:LIST_KEY_BYTES], new_head)
    return old != 0
