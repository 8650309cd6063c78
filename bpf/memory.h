/*
 * What an extension's code in the kernel calls: look-ups and memory, by addresses that are numbers
 * (splinter/ext/kernel/layout.py). All are global functions, which the kernel's verifier looks at once, whoever calls them.
 *
 * An offset that becomes part of a pointer is forgotten first: stored to memory and loaded again. Else the verifier follows it
 * back to where it was counted, keeps each turn of the loop apart from the others, and never ends.
 */
#ifndef SPLINTER_MEMORY_H
#define SPLINTER_MEMORY_H

#define SLAB_BYTES_SHIFT 17
#define SLAB_NUMBER_MASK ((1 << 19) - 1) /* of 64 GiB */
#define NOT_TOLD (-1ull)
_Static_assert(SLAB_BYTES == 1 << SLAB_BYTES_SHIFT, "a slab's bytes are a power of two");

#define GLOBAL __attribute__((noinline))
#define SCRATCH_PARAMETER struct extension_scratch *s __attribute__((btf_decl_tag("arg:nonnull")))

static __always_inline __u64 forget(struct extension_scratch *s, __u64 number)
{
    *(volatile __u64 *)&s->laundered = number;
    return *(volatile __u64 *)&s->laundered;
}

/* The pointer to a byte of the slabs from which on `size` bytes may be read, or NULL. */
static __always_inline const void *slab_bytes(__u64 address, __u32 size)
{
    __u32 number = address >> SLAB_BYTES_SHIFT & SLAB_NUMBER_MASK;
    const __u8 *slab = bpf_map_lookup_elem(&store_slabs, &number);
    __u32 offset = address & (SLAB_BYTES - 1);

    if (!slab || offset > SLAB_BYTES - size)
        return NULL;
    return slab + offset;
}

/* The pointer to a byte of the record. */
static __always_inline __u8 *scratch_bytes(struct extension_scratch *s, __u64 address)
{
    return (__u8 *)s + bounded(address, SCRATCH_BYTES - 1);
}

#define DEFINE_LOAD(bits)                                                                                                        \
    GLOBAL __u64 load##bits(SCRATCH_PARAMETER, __u64 address)                                                                \
    {                                                                                                                            \
        const __u##bits *at;                                                                                                     \
        if (address < SCRATCH_BYTES)                                                                                             \
            return *(const __u##bits *)scratch_bytes(s, address);                                                                \
        at = slab_bytes(address, bits / 8);                                                                                      \
        if (!at) {                                                                                                               \
            s->broken = 1;                                                                                                       \
            return 0;                                                                                                            \
        }                                                                                                                        \
        return *at;                                                                                                              \
    }
DEFINE_LOAD(8)
DEFINE_LOAD(16)
DEFINE_LOAD(32)
DEFINE_LOAD(64)

#include "store.h"
#include "expiry.h"

/* Copy `length` bytes to a place in the record; the two may overlap. */
GLOBAL __u64 copy(SCRATCH_PARAMETER, __u64 to, __u64 from, __u64 length)
{
    __u64 done, at;

    if (length > FRAME_BYTES) {
        s->broken = 1;
        return 0;
    }
    if (to <= from) {
        for (done = s->zero; done + 8 <= length; done += 8) {
            at = forget(s, done);
            *(__u64 *)scratch_bytes(s, to + at) = load64(s, from + at);
        }
        for (; done < length; done++) {
            at = forget(s, done);
            *scratch_bytes(s, to + at) = load8(s, from + at);
        }
        return 0;
    }
    for (done = length; done; done--) {
        at = forget(s, done) - 1;
        *scratch_bytes(s, to + at) = load8(s, from + at);
    }
    return 0;
}

/* Make `length` bytes of the record 0, a multiple of 8. */
GLOBAL __u64 clear(SCRATCH_PARAMETER, __u64 address, __u64 length)
{
    for (__u64 done = s->zero; done < length && done < FRAME_BYTES; done += 8)
        *(__u64 *)scratch_bytes(s, address + forget(s, done)) = 0;
    return 0;
}

/* Whether two stretches of `length` bytes are the same. */
GLOBAL __u64 equal(SCRATCH_PARAMETER, __u64 left, __u64 right, __u64 length)
{
    __u64 done, at;

    for (done = s->zero; done + 8 <= length; done += 8) {
        at = forget(s, done);
        if (load64(s, left + at) != load64(s, right + at))
            return 0;
    }
    for (; done < length; done++) {
        at = forget(s, done);
        if (load8(s, left + at) != load8(s, right + at))
            return 0;
    }
    return 1;
}

/* The CRC of IEEE 802.3, without the inversions before and behind. */
GLOBAL __u64 crc32(SCRATCH_PARAMETER, __u64 address, __u64 length, __u64 state)
{
    for (__u64 done = s->zero; done < length; done++) {
        state ^= load8(s, address + forget(s, done));
        for (int bit = 0; bit < 8; bit++)
            state = state >> 1 ^ (0xEDB88320u & -(state & 1));
    }
    return state;
}

/* FNV-1a. */
GLOBAL __u64 hash64(SCRATCH_PARAMETER, __u64 address, __u64 length, __u64 state)
{
    for (__u64 done = s->zero; done < length; done++)
        state = (state ^ load8(s, address + forget(s, done))) * FNV_PRIME;
    return state;
}

/* Put the key where look-ups want it: from the record, or from an object. In front of both lies a block at least. 0: it lies nowhere. */
static __always_inline int take_key(struct extension_scratch *s, struct key *key, __u64 address, __u64 length)
{
    __u32 number = address >> SLAB_BYTES_SHIFT & SLAB_NUMBER_MASK;
    const __u8 *memory = (const __u8 *)s;
    __u64 end = address, most = SCRATCH_BYTES;
    const struct block *block;

    key->length = length;
    if (address >= SCRATCH_BYTES) {
        memory = bpf_map_lookup_elem(&store_slabs, &number);
        end = address & (SLAB_BYTES - 1);
        most = SLAB_BYTES;
    }
    if (!memory)
        return 0;
#pragma clang loop unroll(disable)
    for (__s64 left = key_length(key); left > 0; left -= BLOCK_BYTES) {
        block = block_before(memory, end + left, most);
        if (!block)
            return 0;
        *key_block(key, left) = *block;
    }
    return 1;
}

/*
 * Look up an object in the tenant's snapshot: 1 and its view in the frame, 0 and zeros if there is none; NOT_TOLD, a negative
 * number, if that cannot be told here, or is an error.
 */
GLOBAL __u64 get(SCRATCH_PARAMETER, __u64 table, __u64 address, __u64 length)
{
    struct key *key = (struct key *)&s->key_length;
    struct walk found = {};
    __u32 tenant = s->frame.tenant, lengths;
    __u64 identity, version;
    struct account *account;
    int is_found;

    if (table >= TABLES_MAX || length < 1 || length > KEY_BYTES_MAX)
        return NOT_TOLD;
    if (!take_key(s, key, address, length))
        return NOT_TOLD;
    identity = identity_of(tenant, table, length);
    is_found = store_find(key, identity, store_hash(key, identity), &found);
    if (is_found < 0)
        return NOT_TOLD;
    if (!is_found) {
        account = bpf_map_lookup_elem(&accounts, &tenant);
        if (!account || *(volatile __u64 *)&account->deleted > s->snapshot)
            return NOT_TOLD;
        s->frame.out_address = 0;
        s->frame.out_length = 0;
        s->frame.out_version = 0;
        return 0;
    }
    version = *(volatile __u64 *)(found.slab + found.at);
    if (version & 1 || !version || version >> 1 > s->snapshot)
        return NOT_TOLD;
    lengths = ((struct object *)(found.slab + found.at))->lengths;
    if (is_large(lengths) || is_over(key, &found, lengths))
        return NOT_TOLD;
    mark_used(&found);
    s->frame.out_address = OBJECT_ADDRESS | (__u64)found.slab_number << SLAB_BYTES_SHIFT |
                           (found.at + sizeof(struct object) + (lengths & KEY_BYTES_MAX));
    s->frame.out_length = value_length(lengths);
    s->frame.out_version = version;
    return 1;
}

#endif
