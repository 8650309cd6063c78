/*
 * What an extension's code in the kernel calls: look-ups and memory, by addresses that are numbers
 * (splinter/ext/kernel/layout.py). All are global functions, which the kernel's verifier looks at once, whoever calls them.
 *
 * An offset that becomes part of a pointer is laundered first: stored to memory and loaded again. Else the verifier follows it
 * back to where it was counted, keeps each turn of the loop apart from the others, and never ends.
 */
#ifndef SPLINTER_MEMORY_H
#define SPLINTER_MEMORY_H

#define __noinline __attribute__((noinline))
#define __arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))
#define SCRATCH_PARAMETER struct extension_scratch *s __arg_nonnull

static __always_inline __u64 launder(struct extension_scratch *s, __u64 number)
{
    *(volatile __u64 *)&s->laundered = number;
    return *(volatile __u64 *)&s->laundered;
}

/* The pointer to a byte of the slabs from which on `size` bytes may be read, or NULL. */
static __always_inline const void *slab_bytes(__u64 address, __u32 size)
{
    __u32 number = address >> SLAB_SHIFT & SLAB_NUMBER_MASK;
    const __u8 *slab = bpf_map_lookup_elem(&store_slabs, &number);
    __u32 offset = address & (SLAB_BYTES - 1);

    if (!slab || offset > SLAB_BYTES - size)
        return NULL;
    return slab + offset;
}

/* The pointer to a byte of the record. */
static __always_inline __u8 *scratch_bytes(struct extension_scratch *s, __u64 address)
{
    address &= SCRATCH_BYTES - 1;
    asm volatile("" : "+r"(address));
    return (__u8 *)s + (address & (SCRATCH_BYTES - 1));
}

#define DEFINE_LOAD(bits)                                                                                                        \
    __noinline __u64 load##bits(SCRATCH_PARAMETER, __u64 address)                                                                \
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

/* Copy `length` bytes to a place in the record; the two may overlap. */
__noinline __u64 copy(SCRATCH_PARAMETER, __u64 to, __u64 from, __u64 length)
{
    __u64 done, at;

    if (length > FRAME_BYTES) {
        s->broken = 1;
        return 0;
    }
    if (to <= from) {
        for (done = s->zero; done + 8 <= length; done += 8) {
            at = launder(s, done);
            *(__u64 *)scratch_bytes(s, to + at) = load64(s, from + at);
        }
        for (; done < length; done++) {
            at = launder(s, done);
            *scratch_bytes(s, to + at) = load8(s, from + at);
        }
        return 0;
    }
    for (done = length; done; done--) {
        at = launder(s, done) - 1;
        *scratch_bytes(s, to + at) = load8(s, from + at);
    }
    return 0;
}

/* Make `length` bytes of the record 0, a multiple of 8. */
__noinline __u64 clear(SCRATCH_PARAMETER, __u64 address, __u64 length)
{
    for (__u64 done = s->zero; done < length && done < FRAME_BYTES; done += 8)
        *(__u64 *)scratch_bytes(s, address + launder(s, done)) = 0;
    return 0;
}

/* Whether two stretches of `length` bytes are the same. */
__noinline __u64 equal(SCRATCH_PARAMETER, __u64 left, __u64 right, __u64 length)
{
    __u64 done, at;

    for (done = s->zero; done + 8 <= length; done += 8) {
        at = launder(s, done);
        if (load64(s, left + at) != load64(s, right + at))
            return 0;
    }
    for (; done < length; done++) {
        at = launder(s, done);
        if (load8(s, left + at) != load8(s, right + at))
            return 0;
    }
    return 1;
}

/* The CRC of IEEE 802.3, without the inversions before and behind. */
__noinline __u64 crc32(SCRATCH_PARAMETER, __u64 address, __u64 length, __u64 state)
{
    for (__u64 done = s->zero; done < length; done++) {
        state ^= load8(s, address + launder(s, done));
        for (int bit = 0; bit < 8; bit++)
            state = state >> 1 ^ (0xEDB88320u & -(state & 1));
    }
    return state;
}

/* FNV-1a. */
__noinline __u64 hash64(SCRATCH_PARAMETER, __u64 address, __u64 length, __u64 state)
{
    for (__u64 done = s->zero; done < length; done++)
        state = (state ^ load8(s, address + launder(s, done))) * FNV_PRIME;
    return state;
}

#endif
