/* For AF_XDP clients: UDP packets whose MATCH port (source or destination) is PORT go to the socket of the queue that they
 * came in by, or to the kernel where it has none; everything else passes. */
#include <uapi/linux/bpf.h>

#include "constants.h"
#include "shared.h"
#include "parsing.h"

#if !defined(MATCH) || !defined(SOCKETS)
#error "the loader defines MATCH: source or destination; SOCKETS: number of queues"
#endif

BPF_XSKMAP(xsks, SOCKETS);

int redirect(struct xdp_md *ctx)
{
    struct packet p = {};

    packet_begin(&p, ctx);
    if (parse_ipv4(&p) != FURTHER_PROCESSING || parse_ports(&p) != FURTHER_PROCESSING)
        return XDP_PASS;
    if (p.udp->MATCH != bpf_htons(PORT))
        return XDP_PASS;
    return xsks.redirect_map(ctx->rx_queue_index, XDP_PASS);
}
