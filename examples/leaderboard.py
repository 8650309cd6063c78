"""A leaderboard: the best scores of a game in one object, kept in order where they are stored.

    .venv/bin/python -m examples.leaderboard

An entry is a score and a player, 16 bytes; the best ones come first. A score that is not among the best changes nothing.
"""

from __future__ import annotations

import random
import struct

from splinter.ext import Store, buffer, extension, u64
from splinter.testing import running_server

BOARDS = 3  # table; key: the game's number, value: entries
ENTRY = struct.Struct("<QQ")  # score, player
ENTRIES_MAX = 10


@extension
def submit(db: Store, game: u64, player: u64, score: u64) -> u64:
    """Put a score on the board; its rank from 1 on, or 0 when it is not among the best ten."""
    board = buffer(160)
    before = db.get(3, game)
    rank: u64 = 0
    if before is not None:
        for entry in before.records(16):
            if rank == 0 and entry.u64(0) < score:
                rank = len(board) // 16 + 1
                board.append_u64(score)
                board.append_u64(player)
            if len(board) < 160:
                board.append(entry)
    if rank == 0 and len(board) < 160:
        rank = len(board) // 16 + 1
        board.append_u64(score)
        board.append_u64(player)
    if rank > 0:
        db.put(3, game, board)
    return rank


def entries(board: bytes | None) -> list[tuple[int, int]]:
    """(score, player) of a board, the best first."""
    return list(ENTRY.iter_unpack(board or b""))


def main() -> None:
    """Let a hundred players play, and print the board."""
    dice = random.Random(7)
    with running_server() as server, server.client() as db:
        db.install(submit)
        scores = {player: dice.randrange(1_000_000) for player in range(100)}
        for player, score in scores.items():
            db.invoke("submit", game=1, player=player, score=score)
        best = sorted(((score, player) for player, score in scores.items()), reverse=True)[:ENTRIES_MAX]
        board = entries(db.get((1).to_bytes(8, "little"), table=BOARDS))
        assert board == best
        for rank, (score, player) in enumerate(board, 1):
            print(f"{rank:2}  player {player:2}  {score:7,}")


if __name__ == "__main__":
    main()
