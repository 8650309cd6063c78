/*
 * Objects that expire: see splinter/store/expiry.py. What is over is the worker's to answer; nobody is shown it here.
 */
#ifndef SPLINTER_EXPIRY_H
#define SPLINTER_EXPIRY_H

#include "store.h"

/* The store's clock, as workers have it by their own monotonic clock and base. */
static __always_inline __u64 store_now(void)
{
    return bpf_ktime_get_ns() + store_state_value.kernel_clock_base;
}

static __always_inline __u32 value_length(__u32 lengths)
{
    return lengths >> KEY_LENGTH_BITS & ((1 << VALUE_LENGTH_BITS) - 1);
}

/* Whether the value is in parts, of which nothing is known here. */
static __always_inline int is_large(__u32 lengths)
{
    return lengths >> LARGE_BIT & 1;
}

/* Note that the object in a slab is used, for who evicts: see splinter/store/eviction.py. */
static __always_inline void mark_used(const struct walk *found)
{
    volatile __u8 *access = (volatile __u8 *)(found->slab + found->at) + OBJECT_ACCESS;

    if (!*access)
        *access = 1;
}

/* Whether the object in a slab, with these lengths, may have expired. The moment does not change while the object stands. */
static __always_inline int is_over(struct key *key, const struct walk *found, __u32 lengths)
{
    __u64 at;

    if (!(lengths >> EXPIRES_BIT))
        return 0;
    at = found->at + sizeof(struct object) + ((lengths & KEY_BYTES_MAX) + value_length(lengths) + 7 & ~7ULL);
    at = launder(key, at, 2 * SLAB_BYTES - 1);
    if (at > SLAB_BYTES - 8)
        return 1; /* cannot be */
    return *(volatile __u64 *)(found->slab + at) <= store_now();
}

#endif
