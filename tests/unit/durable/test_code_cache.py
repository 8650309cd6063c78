"""What was compiled is read again as it was written, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from splinter.durable.code_cache import CodeCache

DIGEST, OTHER = bytes(range(32)), bytes(32)
CONTENT = b"machine code"


def test_what_was_kept_is_found_by_its_digest_alone(tmp_path: Path):
    CodeCache(tmp_path).put(DIGEST, CONTENT)
    again = CodeCache(tmp_path)
    assert (again.get(DIGEST), again.get(OTHER)) == (CONTENT, None)
    (tmp_path / DIGEST.hex()).rename(tmp_path / OTHER.hex())
    assert (again.get(DIGEST), again.get(OTHER)) == (None, None)


def test_no_flipped_bit_and_no_torn_file_is_believed(tmp_path: Path):
    cache = CodeCache(tmp_path)
    cache.put(DIGEST, CONTENT)
    path = tmp_path / DIGEST.hex()
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert cache.get(DIGEST) is None
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert cache.get(DIGEST) is None
    cache.put(DIGEST, CONTENT)
    assert cache.get(DIGEST) == CONTENT


def test_what_was_not_used_for_longest_goes(tmp_path: Path):
    cache = CodeCache(tmp_path, bytes_max=400)
    for number in range(4):
        cache.put(bytes([number]) * 32, b"x" * 68)
        os.utime(tmp_path / (bytes([number]) * 32).hex(), ns=(number, number))
    assert cache.get(bytes(32)) is not None  # used now
    cache.put(b"z" * 32, b"x" * 68)
    kept = [number for number in range(4) if cache.get(bytes([number]) * 32) is not None]
    assert kept == [0, 3] and cache.get(b"z" * 32) is not None
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 400


def test_a_disk_that_is_full_keeps_nothing_and_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache = CodeCache(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    cache.put(DIGEST, CONTENT)
    assert cache.get(DIGEST) is None and list(tmp_path.iterdir()) == []
