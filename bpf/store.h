/*
 * The store as a reader sees it: the hash of a key, its chain, the object. The same algorithms as splinter/store/hashing.py and
 * index.py, in the same order of loads. Who calls is in an epoch, so nothing that is found is used again meanwhile.
 *
 * A key lies in the memory of a map, as struct key. A look-up that cannot be done (-1) is the worker's.
 */
#ifndef SPLINTER_STORE_H
#define SPLINTER_STORE_H

#include "blocks.h"

#define SLAB_SHIFT 13 /* SLAB_UNITS */
#define OBJECT_AT_MAX (SLAB_BYTES - 64) /* of the smallest size class */
/* Buckets of a chain that are looked at, of CHAIN_BUCKETS_MAX that there may be: an index that is full has one and a half. */
#define CHAIN_LOOKS_MAX 4
#define CANDIDATES_MAX 2 /* objects of one tag and identity that are compared: each has another key by a chance of 1 in 65,536 */

_Static_assert(SLAB_UNITS == 1 << SLAB_SHIFT, "a slab's units are a power of two");

struct key {
    __u64 length;    /* of its bytes. Read anew for each use: what the verifier has learned of it in a loop must not spread */
    __u64 laundered; /* numbers pass through here that the verifier is to know nothing of */
    __u8 bytes[KEY_AREA_BYTES]; /* a block of whatever content, then the key */
};

/* How far a look-up has come in a chain: the next entry; and where the object of the one before is. */
struct walk {
    __u32 bucket;
    __u32 entry;
    __u8 *slab;
    __u32 at; /* of the object's header in the slab. The kernel's verifier wants each place bounded by itself */
    __u32 slab_number;
};

/* A number that the verifier knows nothing of but that it fits `mask`: what it knows of one it follows back into each round of a
 * loop, and looks at each as another program. */
static __always_inline __u64 launder(struct key *key, __u64 number, const int mask)
{
    *(volatile __u64 *)&key->laundered = number;
    return bounded(*(volatile __u64 *)&key->laundered, mask);
}

static __always_inline __u64 identity_of(__u32 tenant, __u32 table, __u32 key_length)
{
    return tenant | (__u64)table << 16 | (__u64)key_length << 32;
}

/* Both halves of the product of 128 bits, xored, from four products of 32 bits. */
static __always_inline __u64 multiply_fold(__u64 a, __u64 b)
{
    __u64 a_low = low_half(a), a_high = a >> 32, b_low = low_half(b), b_high = b >> 32;
    __u64 low = a_low * b_low, left = a_high * b_low, right = a_low * b_high, high = a_high * b_high;
    __u64 middle = (low >> 32) + low_half(left) + right;

    return (low_half(low) | middle << 32) ^ (high + (left >> 32) + (middle >> 32));
}

static __always_inline __u64 key_length(const struct key *key)
{
    return bounded(*(volatile __u64 *)&key->length, KEY_BYTES_MAX);
}

/* The block of a key that ends behind its first `left` bytes. */
static __always_inline struct block *key_block(struct key *key, __u64 left)
{
    return (struct block *)(key->bytes + bounded(left, KEY_BYTES_MAX));
}

/* What is summed up of a key's words, the last one first. */
struct products {
    __u64 first;
    __u64 second;
};

static __always_inline void add_products(struct products *sums, __u64 word, const __u32 *random)
{
    __u32 low = low_half(word), high = word >> 32;

    sums->first += (__u64)(low + random[0]) * (high + random[1]);
    sums->second += (__u64)(low + random[2]) * (high + random[3]);
}

/* The hash of a key of 1 to KEY_BYTES_MAX bytes. */
static __always_inline __u64 store_hash(struct key *key, __u64 identity)
{
    struct products sums = {};
    __u64 length = key_length(key), left = length;
    const __u32 *random;
    const struct block *block;
    __u64 word;

#pragma clang loop unroll(disable)
    for (;; left -= BLOCK_BYTES) {
        block = key_block(key, left);
        random = (const void *)store_state_value.hash_words + bounded(length - left, KEY_BYTES_MAX & ~(BLOCK_BYTES - 1));
        if (left <= BLOCK_BYTES)
            break;
#pragma unroll
        for (int i = 0; i < BLOCK_WORDS; i++)
            add_products(&sums, block->words[BLOCK_WORDS - 1 - i], random + 2 * i);
    }
    word = block->words[BLOCK_WORDS - 1];
#pragma unroll
    for (int i = BLOCK_WORDS - 2; i >= 0 && left > 8; i--, left -= 8, random += 2) {
        add_products(&sums, word, random);
        word = block->words[i];
    }
    add_products(&sums, first_of(word, left), random);
    return multiply_fold(identity * store_state_value.seed + sums.first, store_state_value.multiplier + sums.second);
}

/* Whether the key of the object at a place in a slab is this one, of the same length; -1: that cannot be told. */
static __always_inline int is_key(const __u8 *slab, __u32 at, struct key *key)
{
    __u64 left = key_length(key);
    const struct block *ours, *theirs;
    __u64 word, differ = 0;

    at += sizeof(struct object);
#pragma clang loop unroll(disable)
    for (;; left -= BLOCK_BYTES) {
        ours = key_block(key, left);
        theirs = block_before(slab, at + left, SLAB_BYTES);
        if (!theirs)
            return -1;
        if (left <= BLOCK_BYTES)
            break;
#pragma unroll
        for (int i = 0; i < BLOCK_WORDS; i++)
            differ |= ours->words[i] ^ theirs->words[i];
    }
    word = ours->words[BLOCK_WORDS - 1] ^ theirs->words[BLOCK_WORDS - 1];
#pragma unroll
    for (int i = BLOCK_WORDS - 2; i >= 0 && left > 8; i--, left -= 8) {
        differ |= word;
        word = ours->words[i] ^ theirs->words[i];
    }
    return !(differ | first_of(word, left));
}

/* The next object of a chain that has this tag and identity: 1; 0, there is none; -1, that cannot be told. */
static __always_inline int next_candidate(struct walk *walk, __u64 identity, __u64 tag)
{
    __u32 first = walk->entry;

#pragma clang loop unroll(disable)
    for (int depth = 0; depth < CHAIN_LOOKS_MAX; depth++) {
        struct bucket *bucket = bpf_map_lookup_elem(&store_index, &walk->bucket);

        if (!bucket)
            return -1;
        pause_at(PAUSE_BUCKET);
#pragma clang loop unroll(disable)
        for (__u32 i = first; i < BUCKET_ENTRIES; i++) {
            __u64 entry = *(volatile __u64 *)((void *)bucket->entries + bounded(i, 7) * 8);
            __u32 unit = entry, slab_number = unit >> SLAB_SHIFT, at = (unit & (SLAB_UNITS - 1)) * UNIT_BYTES;
            __u8 *slab;

            if (entry >> ENTRY_TAG_SHIFT != tag || !entry)
                continue;
            slab = bpf_map_lookup_elem(&store_slabs, &slab_number);
            if (!slab)
                return -1;
            pause_at(PAUSE_ENTRY);
            if ((*(volatile __u64 *)(slab + at + 8) ^ identity) << (64 - IDENTITY_BITS))
                continue;
            walk->slab = slab;
            walk->slab_number = slab_number;
            walk->entry = i + 1;
            walk->at = at;
            return 1;
        }
        first = 0;
        walk->bucket = *(volatile __u32 *)&bucket->next;
        if (!walk->bucket)
            return 0;
    }
    return -1;
}

/* The object of a key, in `walk`: 1, found; 0, there is none; -1, whether there is one cannot be told here. */
static __always_inline int store_find(struct key *key, __u64 identity, __u64 hashed, struct walk *walk)
{
    walk->bucket = (hashed & 0xffffffff) * store_state_value.buckets >> 32;
    walk->entry = 0;
#pragma clang loop unroll(disable)
    for (int tries = 0; tries < CANDIDATES_MAX; tries++) {
        int is_there = next_candidate(walk, identity, hashed >> ENTRY_TAG_SHIFT);

        if (is_there <= 0)
            return is_there;
        walk->at = launder(key, walk->at, SLAB_BYTES - 1);
        if (walk->at > OBJECT_AT_MAX)
            return -1; /* cannot be */
        pause_at(PAUSE_IDENTITY);
        is_there = is_key(walk->slab, walk->at, key);
        if (is_there)
            return is_there;
        walk->bucket = launder(key, walk->bucket, 0x7fffffff);
        walk->entry = launder(key, walk->entry, 7);
    }
    return -1;
}

#endif
