"""MD5 (RFC 1321) of a stored value."""

from splinter.ext import Buffer, Error, Store, View, array, buffer, extension, rotl32, u32, u64

NOT_FOUND = 1
BLOCK_BYTES = 64
LENGTH_BYTES = 8
WORD = 0xFFFFFFFF
# floor(2**32 * abs(sin(i + 1)))
SINES = (
    0xD76AA478, 0xE8C7B756, 0x242070DB, 0xC1BDCEEE, 0xF57C0FAF, 0x4787C62A, 0xA8304613, 0xFD469501,
    0x698098D8, 0x8B44F7AF, 0xFFFF5BB1, 0x895CD7BE, 0x6B901122, 0xFD987193, 0xA679438E, 0x49B40821,
    0xF61E2562, 0xC040B340, 0x265E5A51, 0xE9B6C7AA, 0xD62F105D, 0x02441453, 0xD8A1E681, 0xE7D3FBC8,
    0x21E1CDE6, 0xC33707D6, 0xF4D50D87, 0x455A14ED, 0xA9E3E905, 0xFCEFA3F8, 0x676F02D9, 0x8D2A4C8A,
    0xFFFA3942, 0x8771F681, 0x6D9D6122, 0xFDE5380C, 0xA4BEEA44, 0x4BDECFA9, 0xF6BB4B60, 0xBEBFBC70,
    0x289B7EC6, 0xEAA127FA, 0xD4EF3085, 0x04881D05, 0xD9D4D039, 0xE6DB99E5, 0x1FA27CF8, 0xC4AC5665,
    0xF4292244, 0x432AFF97, 0xAB9423A7, 0xFC93A039, 0x655B59C3, 0x8F0CCC92, 0xFFEFF47D, 0x85845DD1,
    0x6FA87E4F, 0xFE2CE6E0, 0xA3014314, 0x4E0811A1, 0xF7537E82, 0xBD3AF235, 0x2AD7D2BB, 0xEB86D391,
)  # fmt: skip
ROTATIONS = (7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21)  # four of each round


@extension
def md5(db: Store, table: u64, key: bytes) -> View:
    """The 16 bytes of the digest; error 1 when there is no such object."""
    value = db.get(table, key)
    if value is None:
        raise Error(NOT_FOUND)
    state = array(u32, 4)
    state[0] = 0x67452301
    state[1] = 0xEFCDAB89
    state[2] = 0x98BADCFE
    state[3] = 0x10325476
    whole = len(value) // BLOCK_BYTES * BLOCK_BYTES
    tail = buffer(2 * BLOCK_BYTES)
    pad(tail, value[whole:], len(value))
    for start in range(0, whole + len(tail), BLOCK_BYTES):
        if start < whole:
            mix(state, value[start : start + BLOCK_BYTES])
        else:
            mix(state, tail[start - whole : start - whole + BLOCK_BYTES])
    digest = buffer(16)
    for i in range(4):
        digest.append_u32(state[i])
    return digest[:]


def pad(tail: Buffer, rest: View, length: u64) -> None:
    """The last bytes, a 1 bit, zeros, and the length in bits, so that whole blocks result."""
    tail.append(rest)
    tail.append_u8(0x80)
    while (len(tail) + LENGTH_BYTES) % BLOCK_BYTES != 0:
        tail.append_u8(0)
    tail.append_u64(length * 8)


def mix(state: array[u32], block: View) -> None:
    a: u64 = state[0]
    b: u64 = state[1]
    c: u64 = state[2]
    d: u64 = state[3]
    for i in range(BLOCK_BYTES):
        if i < 16:
            f = b & c | ~b & WORD & d
            word = i
        elif i < 32:
            f = d & b | ~d & WORD & c
            word = (5 * i + 1) % 16
        elif i < 48:
            f = b ^ c ^ d
            word = (3 * i + 5) % 16
        else:
            f = c ^ (b | ~d & WORD)
            word = 7 * i % 16
        rotated = rotl32(a + f + SINES[i] + block.u32(word * 4) & WORD, ROTATIONS[i // 16 * 4 + i % 4])
        a = d
        d = c
        c = b
        b = b + rotated & WORD
    state[0] = state[0] + a & WORD
    state[1] = state[1] + b & WORD
    state[2] = state[2] + c & WORD
    state[3] = state[3] + d & WORD
