/* For AF_XDP clients: UDP packets whose MATCH port (source or destination) is PORT go to the socket of the queue that they
 * came in by, or to the kernel where it has none; everything else passes. */
#include "kernel.h"
#include "constants.h"
#include "shared.h"
#include "parsing.h"

#ifndef MATCH
#error "the loader defines MATCH: source or destination"
#endif

/* The socket of each queue. Writer: user space. */
extern struct map xsks;

int redirect(struct xdp_md *ctx)
{
    struct packet p = {};

    packet_begin(&p, ctx);
    if (parse_ipv4(&p) != FURTHER_PROCESSING || parse_ports(&p) != FURTHER_PROCESSING)
        return XDP_PASS;
    if (p.udp->MATCH != bpf_htons(PORT))
        return XDP_PASS;
    return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
}
