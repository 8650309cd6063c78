/* Which core gets a packet. */
#ifndef SPLINTER_STEER_H
#define SPLINTER_STEER_H

#if !defined(LOCALITY) || !defined(STEER_AWAY)
#error "the loader defines LOCALITY: 0 to spread packets by chance; STEER_AWAY: packets waiting for a core, 0: never mind"
#endif

#if STEER_AWAY
/* The home core, or where more than STEER_AWAY packets wait for it the core for which the fewest do. */
static __always_inline __u32 choose_core(__u32 home)
{
    struct depth *depth = bpf_map_lookup_elem(&depths, &home);
    __u32 best = home, least;

    if (!depth)
        return home; /* no such core */
    least = depth->packets;
    if (least > STEER_AWAY) {
#pragma unroll
        for (__u32 i = 0; i < CORES; i++) {
            __u32 core = i;
            struct depth *other = bpf_map_lookup_elem(&depths, &core);

            if (other && other->packets < least) {
                least = other->packets;
                best = i;
            }
        }
        depth = bpf_map_lookup_elem(&depths, &best);
        if (!depth)
            return home;
    }
    __sync_fetch_and_add(&depth->packets, 1); /* until the worker's next turn, which stores what there really is */
    return best;
}
#elif LOCALITY
static __always_inline __u32 choose_core(__u32 home)
{
    return home;
}
#else
static __always_inline __u32 choose_core(__u32 home)
{
    return bpf_get_prandom_u32() % CORES;
}
#endif

static __always_inline int steer(struct xdp_md *ctx, __u32 home)
{
    __u32 core;

    if (home >= CORES)
        return VERDICT_NO_SOCKET;
    core = choose_core(home);
    if (bpf_redirect_map(&xsks, ctx->rx_queue_index * CORES + core, XDP_DROP) != XDP_REDIRECT)
        return VERDICT_NO_SOCKET;
    return VERDICT_STEERED;
}

#endif
