/* Who a packet is for, and whether its sender is somebody who can be answered. */
#ifndef SPLINTER_PLACE_H
#define SPLINTER_PLACE_H

static __always_inline __u64 mac_number(const __u8 *mac)
{
    return *(__u32 *)mac | (__u64)*(__u16 *)(mac + 4) << 32;
}

static __always_inline int is_no_station(__be32 address)
{
    __u8 first = *(__u8 *)&address;

    return first == 0 || first == LOOPBACK || first >= MULTICAST_FROM;
}

/* Whether a packet goes to the device's first address of each kind: two comparisons, in place of two look-ups in hash tables. */
static __always_inline int is_usual(__u64 mac, __be32 address)
{
    return mac == *(volatile __u64 *)&usual_value.mac && address == *(volatile __u32 *)&usual_value.address;
}

/*
 * Ours is what goes to one of the device's MAC addresses and one of its IPv4 addresses, and came from a single station. All
 * else is somebody else's, or everybody's: forwarded packets, what a promiscuous device hears, multicast and broadcast.
 */
static __always_inline int is_for_us(struct packet *p)
{
    __be32 destination = p->ip->destination, source = p->ip->source;
    __u64 mac = mac_number(p->ethernet->destination);
    __u32 *kind;

    if (p->ethernet->source[0] & MAC_GROUP || is_no_station(source) || source == destination)
        return VERDICT_PASSED;
    if (!is_usual(mac, destination)) {
        kind = bpf_map_lookup_elem(&addresses, &destination);
        if (!kind || *kind != ADDRESS_OWN || !bpf_map_lookup_elem(&macs, &mac))
            return VERDICT_PASSED;
    }
    /* A network's broadcast address ends in two bits of 1 at least, its own in two of 0: only then is it worth a look. */
    if (((bpf_ntohl(source) + 1) & 3) < 2 && bpf_map_lookup_elem(&addresses, &source))
        return VERDICT_PASSED;
    return FURTHER_PROCESSING;
}

#endif
