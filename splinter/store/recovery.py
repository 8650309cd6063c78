"""After a participant's death."""

from __future__ import annotations

from numba import njit

from splinter.native.atomics import store64_release
from splinter.store.commit_layout import COMMIT_NONE
from splinter.store.commits import recover_commit
from splinter.store.epochs import epoch_leave
from splinter.store.index import buckets_unseal
from splinter.store.journal import JOURNAL_CLEAR, break_locks, locks_held, participant_at, replay
from splinter.store.records import Commit, Intent, Participant


@njit(cache=True)
def recover(store: int, p: int) -> None:
    """Finish or undo what participant ``p`` was in the middle of, and release its locks.

    Run by another process when ``p`` is certainly dead (reaped), before its number is used again. May be run twice,
    also when the first run was cut short. Its free slots, limbo and staged puts stay where they are, for its
    successor. So do its epoch and its incarnation, since a successor may take over its tasks: :func:`give_up` when none does.
    """
    me = participant_at(store, p)
    replay(store, me)
    recover_commit(store, me)
    Participant(me).turn = 0
    buckets_unseal(me)
    break_locks(me)


@njit(cache=True)
def steps_open(store: int, p: int) -> tuple[int, int]:
    """What :func:`recover` will find of participant ``p``: whether a step or a commit is under way (1 or 0), and locks that it
    holds."""
    me = participant_at(store, p)
    is_open = Intent(Participant(me).intent).state != JOURNAL_CLEAR or Commit(Participant(me).commit).state != COMMIT_NONE
    return 1 if is_open else 0, locks_held(me)


@njit(cache=True)
def give_up(store: int, p: int) -> None:
    """Nobody goes on with what a participant had begun that was recovered: its references and claims are void.

    What kept its memory from it is void as well: who has its number next finds out anew, and nobody gives way to it before.
    """
    mine = Participant(participant_at(store, p))
    store64_release(mine.at.blocked_turns, 0)
    store64_release(mine.at.blocked_at, 0)
    store64_release(mine.at.wants, 0)
    store64_release(mine.at.incarnation, mine.incarnation + 1)
    epoch_leave(store, p)
