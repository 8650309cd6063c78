"""What the Redis protocol does not have here, and what is another: for the documentation."""

from __future__ import annotations

from splinter import limits

# A command that is not there is answered as Redis answers an unknown one.
NOT_THERE = {
    "hashes, lists, sets, sorted sets, streams, bits, geo, HyperLogLog": "objects are strings of bytes, so far",
    "EVAL and SCRIPT LOAD of other scripts than those above": "code is Python: FUNCTION LOAD. Nothing here runs Lua",
    "FUNCTION DUMP, FLUSH, KILL, RESTORE; SCRIPT FLUSH, KILL": "functions are extensions: `splinter extensions`; the watchdog "
    "ends what is stuck",
    "SUBSCRIBE, PUBLISH, MONITOR, CLIENT TRACKING": "nothing is pushed to a connection",
    "BLPOP and all that block": "a connection never waits for another's data",
    "FLUSHALL, SWAPDB, MOVE": "a tenant has 65,280 tables; FLUSHDB empties one, `splinter tenant remove` ends all",
    "SAVE, BGSAVE, REPLICAOF, CLUSTER, ACL, DEBUG, SHUTDOWN": "the operator's, by `splinter`; a server has many tenants",
    "DUMP, RESTORE": "`splinter dump` and `splinter restore` have a format of their own",
    "LCS, SORT, WAIT, LATENCY, MEMORY, SLOWLOG": "not built",
    "OBJECT IDLETIME": "when an object was used is not kept",
}
DIFFERENCES = (
    "A key has 1 to 255 bytes. Others are refused where they would be written, and found by nobody",
    "A value has at most 8 MiB. One of more than 65,536 bytes cannot be appended to, overwritten in part, renamed, copied, "
    "or set by MSET or within MULTI",
    "A transaction, which each command is, writes 127 objects of 96 KiB together, and reads 1,024: so do MSET, DEL, EXEC. "
    "It is refused as a whole, also for the quota",
    "EXEC is strictly serializable, and never seen in part. It is begun anew by itself when others have changed what it reads",
    "WATCH of a key that is not there does not notice one that was made and deleted again",
    "A function is an extension: its parameters are the keys and then the arguments, as texts of their kinds. It is a "
    "transaction by itself, and sees the tables that it names, whatever SELECT says. It may take long: others go on",
    "FUNCTION LOAD takes Python; FUNCTION LIST does not have the source. A result is a number, a boolean, bytes, nothing, "
    "or an array of up to 16 numbers and booleans",
    "Within MULTI a function is a part of the one transaction, and its own writes are all or nothing. The functions of an "
    f"EXEC run at once, and may spend {limits.RESP_EXEC_BUDGET:,} together (a loop's round is 1: some 0.4 ms), or EXEC is "
    "refused as a whole. One without isolation cannot be called there; a script of EVAL must be loaded before",
    "FUNCTION and SCRIPT cannot stand in MULTI",
    "DBSIZE, KEYS, SCAN, RANDOMKEY, FLUSHDB, AUTH and HELLO cannot stand in MULTI; a wrong subcommand there is told by EXEC",
    "DBSIZE, KEYS and FLUSHDB go over the whole table, and are no transactions",
    "An object lives for 100 years at most, or for ever; a time beyond is an error",
    "INCRBYFLOAT is exact for up to 17 digits; beyond, it adds float64s",
    "OBJECT ENCODING goes by what the value looks like",
    "CLIENT LIST tells of the connection itself alone, INFO of the server and the tenant",
    "CONFIG SET changes nothing",
    "A command has at most 9 MiB with its arguments; one that announces more ends the connection. A reply has, too: an MGET of "
    "more is an error",
    "A write whose connection broke may have been done. Packets' clients know: their requests are executed once",
)
