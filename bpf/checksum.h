/* The Internet checksum (RFC 1071), summed in halves of 32 bits as in splinter/native/checksum.py. */
#ifndef SPLINTER_CHECKSUM_H
#define SPLINTER_CHECKSUM_H

#include "blocks.h"

#define WHOLE 0xffff
#define WHOLE_INVERSE 0xfffefffefffeffffull /* times WHOLE it is 1, modulo 2^64 */

static __always_inline __u64 word_sum(__u64 word)
{
    return low_half(word) + (word >> 32);
}

static __always_inline __u32 fold(__u64 total)
{
    total = word_sum(total);
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    return (total & 0xffff) + (total >> 16);
}

/* Whether what was summed up includes its own checksum and folds to WHOLE: whether it is a multiple of that. (No header's sum is 0.)
 * A multiple times the inverse is small, modulo 2^64; nothing else is. */
static __always_inline int is_whole(__u64 total)
{
    return total * WHOLE_INVERSE <= ~0ull / WHOLE;
}

/* What stands in front of UDP's header in its sum: addresses (already summed), protocol, and length as it stands in the header. */
static __always_inline __u64 pseudo_sum(__u64 addresses, __u32 udp_length)
{
    return addresses + bpf_htons(PROTOCOL_UDP) + udp_length;
}

static __always_inline __u64 block_sum(const struct block *block)
{
    return word_sum(block->words[0]) + word_sum(block->words[1]) + word_sum(block->words[2]) + word_sum(block->words[3]);
}

/* Of the block that has the first `left` bytes of a stretch, 1 to BLOCK_BYTES, the first word that is the stretch's, or as much of
 * it as is; those behind it are added to the sum. */
static __always_inline __u64 first_sum(const struct block *block, __u64 left, __u64 *sum)
{
    __u64 word = block->words[BLOCK_WORDS - 1];

#pragma unroll
    for (int i = BLOCK_WORDS - 2; i >= 0 && left > 8; i--, left -= 8) {
        *sum += word_sum(word);
        word = block->words[i];
    }
    return first_of(word, left);
}

#endif
