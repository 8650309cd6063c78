/* For benchmarks: sends UDP packets for PORT back to where they came from, from within the driver. The machine's upper bound. */
#include "kernel.h"
#include "constants.h"
#include "shared.h"
#include "parsing.h"

#define SWAP(type, a, b)  \
    do {                  \
        type swapped = a; \
        a = b;            \
        b = swapped;      \
    } while (0)

int echo(struct xdp_md *ctx)
{
    struct packet p = {};

    packet_begin(&p, ctx);
    if (parse_ipv4(&p) != FURTHER_PROCESSING || parse_ports(&p) != FURTHER_PROCESSING)
        return XDP_PASS;
    if (p.udp->destination != bpf_htons(PORT))
        return XDP_PASS;
    /* Swapping keeps the sums of the checksums as they are. */
#pragma unroll
    for (int i = 0; i < 6; i++)
        SWAP(__u8, p.ethernet->source[i], p.ethernet->destination[i]);
    SWAP(__be32, p.ip->source, p.ip->destination);
    SWAP(__be16, p.udp->source, p.udp->destination);
    return XDP_TX;
}
