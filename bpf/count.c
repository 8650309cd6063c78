/*
 * For benchmarks: counts replies from PORT by their status and drops them. Everything else passes. A reply has MARK (4 bytes)
 * at MARK_AT of the UDP payload, and its status at STATUS_AT; STATUS_AT 0: none, it counts as 0. A reply of status 0 has
 * REPLY_BYTES, unless that is 0.
 */
#include "kernel.h"
#include "constants.h"
#include "shared.h"
#include "parsing.h"

#if !defined(PORT) || !defined(MARK_AT) || !defined(MARK) || !defined(STATUS_AT) || !defined(REPLY_BYTES)
#error "the loader defines PORT, and what a reply looks like"
#endif

#define STATUSES 256

/* Replies by status, one cell for each CPU; at STATUSES, packets that are none, or of another length. Writer: this program. */
extern struct map replies;

int count(struct xdp_md *ctx)
{
    struct packet p = {};
    __u32 at = STATUSES;
    __u64 *cell;

    packet_begin(&p, ctx);
    if (parse_ipv4(&p) != FURTHER_PROCESSING || parse_ports(&p) != FURTHER_PROCESSING)
        return XDP_PASS;
    if (p.udp->source != bpf_htons(PORT))
        return XDP_PASS;
    if (parse_udp(&p) == FURTHER_PROCESSING) {
        if (p.cursor + MARK_AT + sizeof(__u32) <= p.end && p.cursor + STATUS_AT + 1 <= p.end &&
            *(__u32 *)(p.cursor + MARK_AT) == MARK)
            at = STATUS_AT ? *(__u8 *)(p.cursor + STATUS_AT) : 0;
        if (!at && REPLY_BYTES != 0 && p.payload_bytes != REPLY_BYTES)
            at = STATUSES;
    }
    cell = bpf_map_lookup_elem(&replies, &at);
    if (cell)
        *cell += 1;
    return XDP_DROP;
}
