/* For benchmarks: counts replies from PORT by their status and drops them. Everything else passes. */
#include <uapi/linux/bpf.h>

#include "constants.h"
#include "wire.h"
#include "shared.h"
#include "parsing.h"

#define STATUSES 256

/* Replies by status, one cell for each CPU; at STATUSES, packets that are none. Writer: this program. */
BPF_PERCPU_ARRAY(replies, u64, STATUSES + 1);

int count(struct xdp_md *ctx)
{
    struct packet p = {};
    struct splinter_header *header;
    u32 at = STATUSES;
    u64 *cell;

    packet_begin(&p, ctx);
    if (parse_ipv4(&p) != FURTHER_PROCESSING || parse_ports(&p) != FURTHER_PROCESSING)
        return XDP_PASS;
    if (p.udp->source != bpf_htons(PORT))
        return XDP_PASS;
    if (parse_udp(&p) == FURTHER_PROCESSING) {
        header = p.cursor;
        if ((void *)(header + 1) <= p.end && header->magic == SPLINTER_MAGIC)
            at = header->status;
    }
    cell = replies.lookup(&at);
    if (cell)
        *cell += 1;
    return XDP_DROP;
}
