"""SHA-256 (FIPS 180-4) of a stored value."""

from splinter.ext import Buffer, Error, Store, View, array, buffer, extension, rotl32, u32, u64

NOT_FOUND = 1
BLOCK_BYTES = 64
LENGTH_BYTES = 8
WORD = 0xFFFFFFFF
# The first 32 bits of the fractions of the square roots of 8 primes, and of the cube roots of 64.
START = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)  # fmt: skip
ROUNDS = (
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
)  # fmt: skip


@extension
def sha256(db: Store, table: u64, key: bytes) -> View:
    """The 32 bytes of the digest; error 1 when there is no such object."""
    value = db.get(table, key)
    if value is None:
        raise Error(NOT_FOUND)
    state = array(u32, 8)
    for i in range(8):
        state[i] = START[i]
    schedule = array(u32, 64)
    whole = len(value) // BLOCK_BYTES * BLOCK_BYTES
    tail = buffer(2 * BLOCK_BYTES)
    pad(tail, value[whole:], len(value))
    for start in range(0, whole + len(tail), BLOCK_BYTES):
        if start < whole:
            block = value[start : start + BLOCK_BYTES]
        else:
            block = tail[start - whole : start - whole + BLOCK_BYTES]
        mix(state, schedule, block)
    digest = buffer(32)
    for i in range(8):
        digest.append_u32_be(state[i])
    return digest[:]


def pad(tail: Buffer, rest: View, length: u64) -> None:
    """The last bytes, a 1 bit, zeros, and the length in bits, so that whole blocks result."""
    tail.append(rest)
    tail.append_u8(0x80)
    while (len(tail) + LENGTH_BYTES) % BLOCK_BYTES != 0:
        tail.append_u8(0)
    tail.append_u64_be(length * 8)


def mix(state: array[u32], schedule: array[u32], block: View) -> None:
    for i in range(16):
        schedule[i] = block.u32_be(i * 4)
    for i in range(16, 64):
        early: u64 = schedule[i - 15]
        late: u64 = schedule[i - 2]
        early = rotl32(early, 25) ^ rotl32(early, 14) ^ early >> 3
        late = rotl32(late, 15) ^ rotl32(late, 13) ^ late >> 10
        schedule[i] = schedule[i - 16] + early + schedule[i - 7] + late & WORD
    a: u64 = state[0]
    b: u64 = state[1]
    c: u64 = state[2]
    d: u64 = state[3]
    e: u64 = state[4]
    f: u64 = state[5]
    g: u64 = state[6]
    h: u64 = state[7]
    for i in range(64):
        choice = e & f ^ ~e & WORD & g
        first = h + (rotl32(e, 26) ^ rotl32(e, 21) ^ rotl32(e, 7)) + choice + ROUNDS[i] + schedule[i]
        majority = a & b ^ a & c ^ b & c
        second = (rotl32(a, 30) ^ rotl32(a, 19) ^ rotl32(a, 10)) + majority
        h = g
        g = f
        f = e
        e = d + first & WORD
        d = c
        c = b
        b = a
        a = first + second & WORD
    state[0] = state[0] + a & WORD
    state[1] = state[1] + b & WORD
    state[2] = state[2] + c & WORD
    state[3] = state[3] + d & WORD
    state[4] = state[4] + e & WORD
    state[5] = state[5] + f & WORD
    state[6] = state[6] + g & WORD
    state[7] = state[7] + h & WORD
