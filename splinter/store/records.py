"""The records of :mod:`splinter.store.layout`, as compiled code reads and writes them; see :mod:`splinter.native.records`."""

from __future__ import annotations

from splinter.native.records import record
from splinter.store import layout

Account = record(layout.ACCOUNT)
Bucket = record(layout.BUCKET)
Change = record(layout.COMMIT["changes"].base)  # of an index entry, by a commit of several objects
Claim = record(layout.CLAIM)
ClassList = record(layout.CLASS_LIST)
Client = record(layout.CLIENT)
Commit = record(layout.COMMIT)
Deletion = record(layout.DELETION)
Descriptor = record(layout.STORE)
FreeLists = record(layout.FREE_LISTS)
Intent = record(layout.INTENT)
Leaving = record(layout.STORE["unlinked"].base)  # an overflow bucket that has left its chain
Object = record(layout.OBJECT)
Participant = record(layout.PARTICIPANT)
Read = record(layout.READ)
Result = record(layout.RESULT)
Slab = record(layout.SLAB)
SlabList = record(layout.SLAB_LIST)
Stage = record(layout.STAGE)
Word = record(layout.INTENT["words"].base)  # of a journal
Write = record(layout.WRITE)
