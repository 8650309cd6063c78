"""The records of the Redis protocol; ``d`` in compiled functions is the address of the door, ``c`` that of a connection."""

from __future__ import annotations

from splinter.native.records import record
from splinter.worker.resp import layout

Argument = record(layout.ARGUMENT)
Command = record(layout.COMMAND)
Connection = record(layout.CONNECTION)
Door = record(layout.DOOR)
Event = record(layout.EVENT)
Parsed = record(layout.PARSED)
Queue = record(layout.QUEUE)
