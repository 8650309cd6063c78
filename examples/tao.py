"""A social graph by the library's ``tao``: who follows whom, and the newest posts of those that one follows.

    .venv/bin/python -m examples.tao

The extensions come with Splinter (docs/library.md, "tao"); ``newest`` is one of the tenant's own beside them. It reads the
graph where it lies: one request, in place of one for each person that is followed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from splinter.client import Client
from splinter.ext import Store, buffer, extension, library, u64
from splinter.testing import running_server

PERSON, POST = 1, 2  # types of objects
FOLLOWS, WROTE = 1, 2  # types of associations
RECORD = struct.Struct("<QQH")  # of a reply: the other object, the time, bytes of data behind it


@extension
def newest(db: Store, person: u64) -> bytes:
    """The newest post of each one that a person follows, as u64 ids in the order of following, the last one first."""
    posts = buffer(1408)
    key = buffer(24)
    key.append_u64(person)
    key.append_u64(1)  # FOLLOWS
    follows = db.get(33, key)
    if follows is None:
        return posts
    key.append_u64(0)
    theirs = buffer(24)
    for page_at in range(16, len(follows), 16):
        key.set_u64(16, follows.u32(page_at + 8))
        page = db.get(34, key)
        if page is None:
            continue
        at = 0
        while at < len(page):
            theirs.clear()
            theirs.append_u64(page.u64(at))
            theirs.append_u64(2)  # WROTE
            head = db.get(33, theirs)
            if head is not None and len(head) > 16:
                theirs.append_u64(head.u32(24))
                first = db.get(34, theirs)
                if first is not None:
                    posts.append_u64(first.u64(0))
            at += 18 + page.u16(at + 16)
    return posts


def records(reply: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(other object, time, data) of each association in a reply."""
    at = 0
    while at < len(reply):
        other, time, size = RECORD.unpack_from(reply, at)
        at += RECORD.size
        yield other, time, reply[at : at + size]
        at += size


def make_graph(db: Client) -> dict[str, int]:
    """Three people, who follows whom, and what they wrote; ids by name."""
    ids = {name: db.invoke("obj_add", otype=PERSON, data=name.encode()) for name in ("ann", "ben", "cleo")}
    for time, (who, whom) in enumerate([("ann", "ben"), ("ann", "cleo"), ("ben", "ann")], 1):
        db.invoke("assoc_add", id1=ids[who], atype=FOLLOWS, id2=ids[whom], time=time, data=b"")
    for time, (who, text) in enumerate([("ben", b"first"), ("cleo", b"hello"), ("ben", b"second")], 10):
        post = db.invoke("obj_add", otype=POST, data=text)
        db.invoke("assoc_add", id1=ids[who], atype=WROTE, id2=post, time=time, data=b"")
    return ids


def main() -> None:
    """Make a graph, and print what ann has to read."""
    with running_server() as server, server.client() as db:
        for source in library.entry("tao").sources.values():
            db.install(source)
        db.install(newest)
        ids = make_graph(db)
        followed = [
            other for other, _, _ in records(db.invoke("assoc_range", id1=ids["ann"], atype=FOLLOWS, position=0, limit=9))
        ]
        assert followed == [ids["cleo"], ids["ben"]]
        posts = [int.from_bytes(post, "little") for post in _words(db.invoke("newest", person=ids["ann"]))]
        texts = [db.invoke("obj_get", id=post)[8:].decode() for post in posts]
        assert texts == ["hello", "second"]
        print(f"ann follows {len(followed)}; their newest posts: {', '.join(texts)}")


def _words(reply: bytes) -> list[bytes]:
    return [reply[at : at + 8] for at in range(0, len(reply), 8)]


if __name__ == "__main__":
    main()
