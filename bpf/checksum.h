/* The Internet checksum (RFC 1071), summed in halves of 32 bits as in splinter/native/checksum.py. */
#ifndef SPLINTER_CHECKSUM_H
#define SPLINTER_CHECKSUM_H

#define WHOLE 0xffff

static __always_inline __u64 word_sum(__u64 word)
{
    return (word & 0xffffffff) + (word >> 32);
}

static __always_inline __u32 fold(__u64 total)
{
    total = (total & 0xffffffff) + (total >> 32);
    total = (total & 0xffff) + (total >> 16);
    total = (total & 0xffff) + (total >> 16);
    return (total & 0xffff) + (total >> 16);
}

/* What stands in front of UDP's header in its sum: addresses (already summed), protocol, and length as it stands in the header. */
static __always_inline __u64 pseudo_sum(__u64 addresses, __u32 udp_length)
{
    return addresses + bpf_htons(PROTOCOL_UDP) + udp_length;
}

/* The last 1 to 7 bytes of `length` bytes that end with `word`, a last odd one followed by 0. */
static __always_inline __u64 last_of(__u64 word, __u32 rest)
{
    return word_sum(word >> (64 - rest * 8));
}

#endif
