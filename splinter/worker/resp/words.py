"""Words that are options of commands, as compiled code compares them: in upper case, the first letter in the lowest byte."""

from __future__ import annotations


def word(text: str) -> int:
    """A word of up to 8 letters."""
    assert len(text) <= 8
    return int.from_bytes(text.encode(), "little")


NX, XX, GT, LT = word("NX"), word("XX"), word("GT"), word("LT")
EX, PX, EXAT, PXAT = word("EX"), word("PX"), word("EXAT"), word("PXAT")
KEEPTTL, GET, PERSIST = word("KEEPTTL"), word("GET"), word("PERSIST")
DB, REPLACE = word("DB"), word("REPLACE")
MATCH, COUNT, TYPE, STRING = word("MATCH"), word("COUNT"), word("TYPE"), word("STRING")
ASYNC, SYNC = word("ASYNC"), word("SYNC")
AUTH, SETNAME = word("AUTH"), word("SETNAME")
ID, INFO, LIST, GETNAME, SETINFO = word("ID"), word("INFO"), word("LIST"), word("GETNAME"), word("SETINFO")
NO_EVICT, NO_TOUCH, DOCS, GETKEYS, SET = word("NO-EVICT"), word("NO-TOUCH"), word("DOCS"), word("GETKEYS"), word("SET")
ENCODING, REFCOUNT, FREQ, HELP = word("ENCODING"), word("REFCOUNT"), word("FREQ"), word("HELP")
LIB_NAME, LIB_VER = word("LIB-NAME"), word("LIB-VER")
LOAD, DELETE, STATS, EXISTS = word("LOAD"), word("DELETE"), word("STATS"), word("EXISTS")
ON, OFF = word("ON"), word("OFF")
