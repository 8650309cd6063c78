"""The records of the Redis protocol; ``d`` in compiled functions is the address of the door, ``c`` that of a connection."""

from __future__ import annotations

from splinter.native.records import record
from splinter.worker.resp import layout

Answer = record(layout.ANSWER)
Argument = record(layout.ARGUMENT)
Ask = record(layout.ASK)
Call = record(layout.CALL)
Command = record(layout.COMMAND)
Connection = record(layout.CONNECTION)
Door = record(layout.DOOR)
Event = record(layout.EVENT)
Parsed = record(layout.PARSED)
Queue = record(layout.QUEUE)
Received = record(layout.RECEIVED)
Script = record(layout.SCRIPT)
