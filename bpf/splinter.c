/*
 * The XDP program of the server: is the packet ours, is it whole, who asks, and who answers.
 *
 * Every step returns a verdict or FURTHER_PROCESSING. Every verdict is counted. What is not ours passes to the kernel; what
 * claims to be ours and is malformed or not authorised is dropped here, before anything else sees it. Gets are answered here
 * where that can be done (tier.h).
 */
#include "kernel.h"
#include "constants.h"
#include "wire.h"
#include "shared.h"
#include "maps.h"
#include "counters.h"
#include "parsing.h"
#include "place.h"
#include "token.h"
#include "rate.h"
#include "steer.h"
#include "tier.h"

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

static __always_inline int authenticate(struct splinter_header *header, struct tenant **found)
{
    __u32 id = header->tenant;
    struct tenant *tenant = bpf_map_lookup_elem(&tenants, &id);

    if (!tenant || id == 0)
        return VERDICT_UNKNOWN_TENANT;
    *found = tenant;
    return check_token(tenant, header->token);
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
    struct tenant *tenant = NULL;
    int verdict;
#if TIER
    __u32 opcode;
#endif

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
    if ((verdict = authenticate(p.cursor, &tenant)) != FURTHER_PROCESSING)
        return verdict;
    if ((verdict = limit_rate(((struct splinter_header *)p.cursor)->tenant, tenant->packets_per_second)) != FURTHER_PROCESSING)
        return verdict;
    note_mistakes(p.cursor, p.payload_bytes - SPLINTER_HEADER_BYTES);
#if TIER
    opcode = ((struct splinter_header *)p.cursor)->opcode;
    if ((opcode == SPLINTER_OPCODE_GET || opcode == SPLINTER_OPCODE_INVOKE) &&
        (verdict = serve(ctx, &p, tenant)) != FURTHER_PROCESSING)
        return verdict;
#endif
    return steer(ctx, tenant->home);
}

int splinter(struct xdp_md *ctx)
{
    int verdict = decide(ctx);

    count(verdict);
    if (verdict == VERDICT_PASSED)
        return XDP_PASS;
    if (verdict == VERDICT_STEERED)
        return XDP_REDIRECT;
    if (verdict == VERDICT_KERNEL_HIT || verdict == VERDICT_KERNEL_MISS)
        return XDP_TX;
    return XDP_DROP;
}
