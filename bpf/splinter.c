/*
 * The XDP program of the server: is the packet ours, is it whole, who asks, and which core answers.
 *
 * Every step returns a verdict or FURTHER_PROCESSING. Every verdict is counted. What is not ours passes to the kernel; what
 * claims to be ours and is malformed or not authorised is dropped here, before anything else sees it.
 */
#include "kernel.h"
#include "constants.h"
#include "wire.h"
#include "shared.h"
#include "maps.h"
#include "counters.h"
#include "parsing.h"
#include "place.h"
#include "rate.h"
#include "steer.h"

static __always_inline int is_ours(struct packet *p)
{
    if (p->udp->destination != bpf_htons(PORT))
        return VERDICT_PASSED;
    return is_for_us(p);
}

static __always_inline int check_header(struct packet *p)
{
    struct splinter_header *header = p->cursor;

    if (p->payload_bytes < sizeof(*header) || (void *)(header + 1) > p->end)
        return VERDICT_SHORT;
    if (header->magic != SPLINTER_MAGIC)
        return VERDICT_BAD_MAGIC;
    if (header->flags & SPLINTER_FLAG_REPLY)
        return VERDICT_REPLY; /* two servers must not answer each other for ever */
    return FURTHER_PROCESSING;
}

static __always_inline int authenticate(struct splinter_header *header, __u32 *home, __u32 *packets_per_second)
{
    __u32 id = header->tenant;
    struct tenant *tenant = bpf_map_lookup_elem(&tenants, &id);

    if (!tenant || id == 0 || !(tenant->flags & TENANT_ACTIVE))
        return VERDICT_UNKNOWN_TENANT;
    /* While a token is being changed two are valid. 0 is none: it is no match for a second token that is not there. */
    if (tenant->token != header->token && (tenant->former_token != header->token || header->token == 0))
        return VERDICT_WRONG_TOKEN;
    *home = tenant->home;
    *packets_per_second = tenant->packets_per_second;
    return FURTHER_PROCESSING;
}

/* Notes what the worker will refuse. Authorised clients get an answer to every mistake, so these are steered all the same. */
static __always_inline void note_mistakes(struct splinter_header *header, __u32 body_bytes)
{
    if (header->version != SPLINTER_VERSION)
        count(VERDICT_BAD_VERSION);
    else if ((__u64)header->key_length + header->value_length != body_bytes)
        count(VERDICT_BAD_LENGTH);
}

static __always_inline int decide(struct xdp_md *ctx)
{
    struct packet p = {};
    __u32 home = 0, packets_per_second = 0, id;
    int verdict;

    packet_begin(&p, ctx);
    if ((verdict = parse_ipv4(&p)) != FURTHER_PROCESSING)
        return verdict;
    if ((verdict = parse_ports(&p)) != FURTHER_PROCESSING)
        return verdict;
    if ((verdict = is_ours(&p)) != FURTHER_PROCESSING)
        return verdict;
    if ((verdict = parse_udp(&p)) != FURTHER_PROCESSING)
        return verdict;
    if ((verdict = check_header(&p)) != FURTHER_PROCESSING)
        return verdict;
    if ((verdict = authenticate(p.cursor, &home, &packets_per_second)) != FURTHER_PROCESSING)
        return verdict;
    id = ((struct splinter_header *)p.cursor)->tenant;
    if ((verdict = limit_rate(id, packets_per_second)) != FURTHER_PROCESSING)
        return verdict;
    note_mistakes(p.cursor, p.payload_bytes - SPLINTER_HEADER_BYTES);
    return steer(ctx, home);
}

int splinter(struct xdp_md *ctx)
{
    int verdict = decide(ctx);

    count(verdict);
    if (verdict == VERDICT_PASSED)
        return XDP_PASS;
    if (verdict == VERDICT_STEERED)
        return XDP_REDIRECT;
    return XDP_DROP;
}
