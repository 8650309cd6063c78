/*
 * For tests: `ask` makes gets of a few keys that are written meanwhile, and sends them out of its device; `check`, at the same
 * device, looks at each reply as hammer.py of the tests has its writers make values, and drops it.
 *
 * A request says itself what its reply must be. The server repeats two of its fields: `sequence` has the key in its lowest bits,
 * `client` what was known of the key when the request was made (SEEN_OF, DELETES_OF).
 */
#include "kernel.h"
#include "constants.h"
#include "shared.h"
#include "parsing.h"
#include "wire.h"
#include "made.h"

#if !defined(KEYS) || !defined(SOURCE_PORT)
#error "the loader defines KEYS, a power of two, and SOURCE_PORT of the requests"
#endif

#define KEY_AT (HEADERS_BYTES + SPLINTER_HEADER_BYTES)
#define SEQUENCE_AT (HEADERS_BYTES + __builtin_offsetof(struct splinter_header, sequence))
#define CLIENT_AT (HEADERS_BYTES + __builtin_offsetof(struct splinter_header, client))
#define DELETES_BITS 24
#define SEEN_OF(client) ((client) >> DELETES_BITS)
#define DELETES_OF(client) ((client) & ((1 << DELETES_BITS) - 1))
#define WORDS_MIN 2
#define WORDS_MAX 12

/* What is known of a key. Replies overtake each other, also on one CPU: what counts is what was shown when a request was made. */
struct key {
    __u64 written; /* number of the last value whose put was acknowledged. Writer: the key's only one, a process */
    __u64 deletes; /* odd while it may be absent: from before a delete until the next put was acknowledged. Writer: the same */
    __u64 shown; /* a number that a reply had, the highest but for races. Writers: check on all CPUs */
};
extern struct map keys;

/* Replies by what they are, one cell for each CPU. Writer: check. */
enum found { KERNEL_HIT, KERNEL_MISS, WORKER_HIT, WORKER_MISS, OTHER, TORN, FOREIGN, STALE, MISSED, FOUND };
extern struct map found;

static __always_inline __u64 mix(__u64 value)
{
    value *= 0x9e3779b97f4a7c15ull;
    return value ^ value >> 29;
}

static __always_inline __u32 words_of(__u64 number)
{
    return WORDS_MIN + (mix(number) >> 40) % (WORDS_MAX - WORDS_MIN + 1);
}

int ask(struct xdp_md *ctx)
{
    void *frame = (void *)(long)ctx->data;
    __u32 first = 0, which = bpf_get_prandom_u32() & (KEYS - 1);
    struct progress *done = bpf_map_lookup_elem(&progress, &first);
    struct key *key = bpf_map_lookup_elem(&keys, &which);
    __u64 sequence, client, seen;

    if (!done || !key || frame + MADE_BYTES > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    if (!take_turn(done))
        return XDP_DROP;
    copy_frame(frame, done->frame);
    sequence = done->made * KEYS + which;
    seen = *(volatile __u64 *)&key->shown;
    if (seen < *(volatile __u64 *)&key->written)
        seen = *(volatile __u64 *)&key->written;
    client = seen << DELETES_BITS | DELETES_OF(*(volatile __u64 *)&key->deletes);
    *(__u64 *)(frame + SEQUENCE_AT) = sequence;
    *(__u64 *)(frame + CLIENT_AT) = client;
    *(__u64 *)(frame + KEY_AT) = which;
    write_checksum(frame, done->sum + SUMMED(SEQUENCE_AT, sequence) + SUMMED(CLIENT_AT, client) + SUMMED(KEY_AT, (__u64)which));
    return XDP_TX;
}

/* Whether the words behind key and number are those of the number. */
static __always_inline int is_whole(const __u64 *value, void *end, __u64 key, __u64 number, __u32 words)
{
    for (__u32 at = WORDS_MIN; at < WORDS_MAX; at++)
        if (at < words && ((void *)(value + at + 1) > end || value[at] != mix(number * WORDS_MAX + at + (key << 56))))
            return 0;
    return 1;
}

static __always_inline enum found judge(struct packet *p, struct splinter_header *header, struct key *key, __u32 which)
{
    int by_kernel = header->flags & SPLINTER_FLAG_KERNEL;
    const __u64 *value = p->cursor + SPLINTER_HEADER_BYTES;
    __u64 client = header->client, number;

    if (header->status == 1) {
        if (!(DELETES_OF(client) & 1) && DELETES_OF(*(volatile __u64 *)&key->deletes) == DELETES_OF(client))
            return MISSED;
        return by_kernel ? KERNEL_MISS : WORKER_MISS;
    }
    if (header->status)
        return OTHER;
    if ((void *)(value + WORDS_MIN) > p->end)
        return TORN;
    if (value[0] != which)
        return FOREIGN;
    number = value[1];
    if (header->value_length != words_of(number) * 8 || p->payload_bytes != SPLINTER_HEADER_BYTES + header->value_length)
        return TORN;
    if (!is_whole(value, p->end, which, number, words_of(number)))
        return TORN;
    if (number < SEEN_OF(client))
        return STALE;
    if (number > *(volatile __u64 *)&key->shown)
        *(volatile __u64 *)&key->shown = number;
    return by_kernel ? KERNEL_HIT : WORKER_HIT;
}

int check(struct xdp_md *ctx)
{
    struct packet p = {};
    struct splinter_header *header;
    struct key *key;
    __u32 which, at = OTHER;
    __u64 *cell;

    packet_begin(&p, ctx);
    if (parse_ipv4(&p) != FURTHER_PROCESSING || parse_ports(&p) != FURTHER_PROCESSING)
        return XDP_PASS;
    if (p.udp->source != bpf_htons(PORT) || p.udp->destination != bpf_htons(SOURCE_PORT))
        return XDP_PASS;
    if (parse_udp(&p) == FURTHER_PROCESSING) {
        header = p.cursor;
        if ((void *)(header + 1) <= p.end && header->magic == SPLINTER_MAGIC && header->flags & SPLINTER_FLAG_REPLY) {
            which = header->sequence & (KEYS - 1);
            key = bpf_map_lookup_elem(&keys, &which);
            if (key)
                at = judge(&p, header, key, which);
        }
    }
    cell = bpf_map_lookup_elem(&found, &at);
    if (cell)
        *cell += 1;
    return XDP_DROP;
}
