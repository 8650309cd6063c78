/* A tenant's packets per second: a token bucket in one word, the generic cell rate algorithm (ITU-T I.371). */
#ifndef SPLINTER_RATE_H
#define SPLINTER_RATE_H

#define SECOND_NS 1000000000ull

/* `due` is when the next packet conforms. One may come earlier by the burst; each moves `due` on by one interval. CPUs that judge
 * by the same `due` let one packet each pass and all their intervals count: additions are atomic. Only where `due` has passed, the
 * tenant has been slow, is it set, and one CPU's interval may be lost. */
static __always_inline int limit_rate(__u32 id, __u32 packets_per_second)
{
    __u64 now, interval, burst, due;
    struct rate *rate;

    if (!packets_per_second)
        return FURTHER_PROCESSING;
    rate = bpf_map_lookup_elem(&rates, &id);
    if (!rate)
        return FURTHER_PROCESSING;
    interval = SECOND_NS / packets_per_second;
    burst = interval * RATE_BURST_PACKETS;
    if (burst < RATE_BURST_NS)
        burst = RATE_BURST_NS;
    now = bpf_ktime_get_ns();
    due = *(volatile __u64 *)&rate->due;
    if (due > now + burst) {
        __sync_fetch_and_add(&rate->dropped, 1);
        return VERDICT_RATE_LIMITED;
    }
    if (due < now)
        rate->due = now + interval;
    else
        __sync_fetch_and_add(&rate->due, interval);
    return FURTHER_PROCESSING;
}

#endif
