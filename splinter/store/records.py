"""The records of the store's layout (``layout``, ``commit_layout``) as compiled code reads and writes them.

See :mod:`splinter.native.records`.
"""

from __future__ import annotations

from splinter import wire
from splinter.native.records import record
from splinter.store import account_layout, commit_layout, layout, roster_layout

Account = record(account_layout.ACCOUNT)
Bucket = record(layout.BUCKET)
Changed = record(commit_layout.CHANGED)
Change = record(commit_layout.COMMIT["changes"].base)  # of an index entry, by a commit of several objects
Chunk = record(roster_layout.CHUNK)
Claim = record(layout.CLAIM)
ClassList = record(layout.CLASS_LIST)
Client = record(layout.CLIENT)
Commit = record(commit_layout.COMMIT)
Deletion = record(commit_layout.DELETION)
Descriptor = record(layout.STORE)
Dumped = record(wire.DUMPED.dtype)
FreeLists = record(layout.FREE_LISTS)
Intent = record(layout.INTENT)
Large = record(wire.LARGE.dtype)
Leaving = record(layout.STORE["unlinked"].base)  # an overflow bucket that has left its chain
Logged = record(commit_layout.LOGGED)
LogRing = record(commit_layout.LOG_RING)
Object = record(layout.OBJECT)
Part = record(wire.PART.dtype)
Participant = record(layout.PARTICIPANT)
Read = record(commit_layout.READ)
Result = record(layout.RESULT)
Slab = record(layout.SLAB)
SlabList = record(layout.SLAB_LIST)
Stage = record(layout.STAGE)
Word = record(layout.INTENT["words"].base)  # of a journal
Write = record(commit_layout.WRITE)
