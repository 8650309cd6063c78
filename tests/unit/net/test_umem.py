import mmap

import pytest

from splinter.net.afxdp import Umem


def test_memory_is_shared_between_view_and_address() -> None:
    umem = Umem(4)
    assert umem.bytes == 4 * 2048 and umem.array.shape == (4, 2048)
    assert umem.address == umem.array.ctypes.data and umem.address % mmap.PAGESIZE == 0
    umem.array[2, 5] = 77
    assert umem.packet(2 * 2048 + 5, 1)[0] == 77


def test_packet_addresses_round_to_their_chunk() -> None:
    umem = Umem(4, 4096)
    assert umem.chunk(2 * 4096 + 256) == 2 * 4096
    assert umem.chunk(4096) == 4096


def test_given_buffer_is_used() -> None:
    memory = mmap.mmap(-1, 4 * 2048)
    umem = Umem(4, buffer=memory)
    umem.array[1, 0] = 9
    assert memory[2048] == 9


@pytest.mark.parametrize("chunk_bytes", [0, 1024, 3000, 8192])
def test_refuses_chunk_sizes_that_the_kernel_would(chunk_bytes: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Umem(4, chunk_bytes)


def test_refuses_no_chunks_and_unfit_buffers() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Umem(0)
    with pytest.raises(ValueError, match="page boundary"):
        Umem(1, buffer=memoryview(mmap.mmap(-1, 8192))[64:])
    with pytest.raises(ValueError, match="writable"):
        Umem(1, buffer=bytes(4096))
