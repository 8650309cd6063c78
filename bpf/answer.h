/*
 * An answer: made of the packet that asked, in its place. The frame's end stays where it is and its head moves, which every driver
 * can do in both directions. (Some cannot make a frame longer at its end.) Nothing of the frame is written before that is done: until
 * then it can be left to the worker.
 *
 * A value is read through value_block(), which the includer defines: block_before() of blocks.h, for the memory that it lies in.
 */
#ifndef SPLINTER_ANSWER_H
#define SPLINTER_ANSWER_H

#define IPV4_PLAIN 0x45 /* version 4, no options */
#define ANSWER_TTL 64
#define IP_AT_MASK 31  /* of the place of the IP header: 14, or 18 behind a tag */
#define VALUE_MASK 2047 /* of places in a value that fits a packet */
#define BOTH_ADDRESSES(ip) (*(__u64 *)&(ip)->source)

/* A request of plain headers in its frame. */
struct request {
    const struct ipv4 *ip;
    const struct udp *udp;
    const struct splinter_header *header;
    const void *end; /* of the frame */
};

/* Find the request in the frame whose IP header begins at `ip_at`; 0: it is not in it, which cannot be. Pointers that have been
 * compared again and again are many to the verifier; these are one. */
static __always_inline int request_begin(struct request *request, const struct xdp_md *ctx, __u32 ip_at)
{
    request->ip = (const void *)(long)ctx->data + ip_at;
    request->udp = (const void *)(request->ip + 1);
    request->header = (const void *)(request->udp + 1);
    request->end = (const void *)(long)ctx->data_end;
    return (const void *)(request->header + 1) <= request->end;
}

/* Of the request, what its answer repeats. */
struct asked {
    __u64 macs_first; /* target and source, as they stand in the frame */
    __u32 macs_rest;
    __u64 types;     /* behind the addresses: 802.1Q, if there is one, and what follows */
    __u64 addresses; /* source and target */
    __u32 ports;
    __u32 ip_at; /* of the IP header in the frame */
    __u64 first; /* of the header: magic, version, opcode */
    __u64 tenant_and_table;
    __u64 client;
    __u64 sequence;
    __u32 fragment; /* index and count */
    __u64 sum; /* of ports and header, as far as it is repeated, but for the fragment's */
};

/* Remember what the answer repeats; `ip_at` is where the IP header begins in the frame. */
static __always_inline int remember(struct asked *asked, const struct xdp_md *ctx, __u32 ip_at, const struct request *request)
{
    const struct splinter_header *header = request->header;
    const void *frame = (const void *)(long)ctx->data;

    hide(frame);
    if (frame + sizeof(struct ethernet) + sizeof(struct ipv4) > request->end)
        return 0; /* cannot be */

    asked->macs_first = *(__u64 *)frame;
    asked->macs_rest = *(__u32 *)(frame + 8);
    asked->types = *(__u64 *)(frame + 12);
    asked->ip_at = ip_at;
    asked->addresses = BOTH_ADDRESSES(request->ip);
    asked->ports = *(__u32 *)&request->udp->source;
    asked->first = *(__u64 *)&header->magic & 0x0000ffffffffffffull;
    asked->tenant_and_table = *(__u64 *)&header->tenant & 0xffffffffffffull;
    asked->client = header->client;
    asked->sequence = header->sequence;
    asked->fragment = *(__u32 *)&header->fragment_index;
    asked->sum = asked->ports + word_sum(asked->first) + word_sum(asked->tenant_and_table) + word_sum(asked->client) +
                 word_sum(asked->sequence);
    return 1;
}

/* The headers in front of UDP's. */
static __always_inline void write_headers(__u8 *frame, struct ipv4 *ip, const struct asked *asked, __u32 udp_bytes)
{
    __u64 start = IPV4_PLAIN | (__u64)bpf_htons(IPV4_HEADER_BYTES_MIN + udp_bytes) << 16;
    __u32 life = ANSWER_TTL | PROTOCOL_UDP << 8;

    /* The source becomes the target: bytes 6 to 11 come first. */
    *(__u64 *)frame = asked->macs_first >> 48 | (__u64)asked->macs_rest << 16 | asked->macs_first << 48;
    *(__u32 *)(frame + 8) = asked->macs_first >> 16;
    *(__u64 *)(frame + 12) = asked->types; /* reaches into the IP header, which is written next */
    *(__u64 *)ip = start;
    *(__u32 *)((void *)ip + 8) = life | (fold(start + life + word_sum(asked->addresses)) ^ WHOLE) << 16;
    BOTH_ADDRESSES(ip) = asked->addresses << 32 | asked->addresses >> 32;
}

/* The header of our own; returns the sum of what it does not repeat. */
static __always_inline __u64 write_header(struct splinter_header *header, const struct asked *asked, __u32 status, __u64 version,
                                          __u32 value_bytes)
{
    __u64 said = status | (SPLINTER_FLAG_REPLY | SPLINTER_FLAG_KERNEL) << 8;
    __u64 lengths = value_bytes | (__u64)asked->fragment << 32, most = tier_value.packet_bytes_max;

    *(__u64 *)&header->magic = asked->first | said << 48;
    *(__u64 *)&header->tenant = asked->tenant_and_table;
    header->token = 0;
    header->client = asked->client;
    header->sequence = asked->sequence;
    *(__u64 *)&header->value_length = lengths;
    header->object_version = version;
    header->acknowledged = most;
    return (said << 16) + word_sum(lengths) + word_sum(version) + most;
}

/* Copy a block; returns its sum. */
static __always_inline __u64 copy_block(struct block *to, const struct block *from)
{
    __u64 first = from->words[0], second = from->words[1], third = from->words[2], fourth = from->words[3];

    to->words[0] = first;
    to->words[1] = second;
    to->words[2] = third;
    to->words[3] = fourth;
    return word_sum(first) + word_sum(second) + word_sum(third) + word_sum(fourth);
}

/* Copy a value of at least a byte behind the header; returns its sum. The first block reaches into the header, which is written next.
 * What does not lie where it must, which cannot be, is left out. */
static __always_inline __u64 copy_value(struct key *key, struct splinter_header *header, void *frame_end, const __u8 *source,
                                        __u32 from, __u32 bytes)
{
    __u64 left = low_half(bytes), turn = (left & 1) * 8;
    const struct block *block;
    struct block *to;
    __u64 word, sum = 0;

#pragma clang loop unroll(disable)
    for (;; left -= BLOCK_BYTES) {
        to = (void *)(header + 1) - BLOCK_BYTES + bounded(left, VALUE_MASK);
        block = value_block(source, from + left);
        if (!block)
            return 0;
        if ((void *)(to + 1) > frame_end)
            return 0;
        if (left <= BLOCK_BYTES)
            break;
        sum += copy_block(to, block);
    }
    *to = *block;
    word = first_sum(block, left, &sum);
    return (sum << turn) + word_sum(word);
}

/* Turn the frame into the answer: `status`, with the value that stands at a place in `source`; or NOT_FOUND with its text. 0: it has
 * no room, and is as it was. */
static __always_inline int answer(struct xdp_md *ctx, struct key *key, const struct asked *asked, __u32 status, __u64 version,
                                  const __u8 *source, __u32 value_at, __u32 value_bytes)
{
    __u32 ip_at = bounded(asked->ip_at, IP_AT_MASK), udp_bytes = sizeof(struct udp) + SPLINTER_HEADER_BYTES + value_bytes;
    long longer = ip_at + IPV4_HEADER_BYTES_MIN + udp_bytes - (long)(ctx->data_end - ctx->data);
    struct splinter_header *header;
    struct ipv4 *ip;
    struct udp *udp;
    void *frame, *end;
    __u64 sum = 0;

    if (longer && bpf_xdp_adjust_head(ctx, -longer))
        return 0;
    frame = (void *)(long)ctx->data;
    hide(frame); /* the verifier wants it bounded by itself, other than the compiler */
    end = (void *)(long)ctx->data_end;
    ip = (void *)(long)ctx->data + ip_at;
    udp = (void *)(ip + 1);
    header = (void *)(udp + 1);
    if ((void *)(header + 1) > end || frame + sizeof(struct ethernet) + sizeof(struct ipv4) > end)
        return 0; /* cannot be: the frame is as long as its answer */
    if (status != NOT_FOUND) {
        if (value_bytes)
            sum = copy_value(key, header, end, source, value_at, value_bytes);
    } else if ((void *)(header + 1) + NOT_FOUND_BYTES <= end) {
        *(__u64 *)(header + 1) = NOT_FOUND_FIRST;
        *(__u32 *)((void *)(header + 1) + 8) = (__u32)NOT_FOUND_SECOND;
        *(__u16 *)((void *)(header + 1) + 12) = NOT_FOUND_SECOND >> 32;
        sum = word_sum(NOT_FOUND_FIRST) + word_sum(NOT_FOUND_SECOND);
    }
    sum += write_header(header, asked, status, version, value_bytes);
    write_headers(frame, ip, asked, udp_bytes);
    *(__u32 *)&udp->source = asked->ports << 16 | asked->ports >> 16;
    udp->length = bpf_htons(udp_bytes);
    sum += pseudo_sum(word_sum(asked->addresses), udp->length) + asked->sum + udp->length;
    sum = fold(sum) ^ WHOLE;
    udp->checksum = sum ? sum : WHOLE; /* 0 would say that there is none */
    return 1;
}

#endif
