/* Parsing. One cursor moves forward through the frame; each step checks its own bounds. */
#ifndef SPLINTER_PARSING_H
#define SPLINTER_PARSING_H

struct ethernet {
    __u8 destination[6];
    __u8 source[6];
    __be16 type;
};

struct tag {
    __be16 priority_and_vlan;
    __be16 type; /* of what follows */
};

struct ipv4 {
    __u8 version_and_words; /* version (4 bits), header length in 32-bit words (4 bits) */
    __u8 service;
    __be16 total_length;
    __be16 identification;
    __be16 fragment;
    __u8 time_to_live;
    __u8 protocol;
    __sum16 checksum;
    __be32 source;
    __be32 destination;
};

struct udp {
    __be16 source;
    __be16 destination;
    __be16 length;
    __sum16 checksum;
};

_Static_assert(sizeof(struct ethernet) == 14 && sizeof(struct tag) == 4 && sizeof(struct ipv4) == 20 && sizeof(struct udp) == 8,
               "headers have no gaps");

struct packet {
    void *cursor; /* next byte to parse */
    void *end;    /* behind the last byte of the frame */
    struct ethernet *ethernet;
    struct ipv4 *ip;
    struct udp *udp;
    __u32 ip_header_bytes;
    __u32 payload_bytes; /* UDP payload, as the UDP header says and the frame confirms */
};

static __always_inline void packet_begin(struct packet *p, struct xdp_md *ctx)
{
    p->cursor = (void *)(long)ctx->data;
    p->end = (void *)(long)ctx->data_end;
}

/* Ethernet with at most one 802.1Q tag, and IPv4. A frame that is not UDP over IPv4, or is too short to tell, is not ours. */
static __always_inline int parse_ipv4(struct packet *p)
{
    __be16 type;

    p->ethernet = p->cursor;
    if ((void *)(p->ethernet + 1) > p->end)
        return VERDICT_PASSED;
    type = p->ethernet->type;
    p->ip = (void *)(p->ethernet + 1);
    if (type == bpf_htons(ETHERTYPE_TAGGED)) {
        struct tag *tag = (void *)p->ip;

        if ((void *)(tag + 1) > p->end)
            return VERDICT_PASSED;
        type = tag->type;
        p->ip = (void *)(tag + 1);
    }
    if (type != bpf_htons(ETHERTYPE_IPV4))
        return VERDICT_PASSED;
    if ((void *)(p->ip + 1) > p->end || p->ip->protocol != PROTOCOL_UDP)
        return VERDICT_PASSED;
    /* A later fragment carries no port: it cannot be told apart from other services' fragments. Its first one is dropped. */
    if (p->ip->fragment & bpf_htons(IPV4_FRAGMENT_OFFSET))
        return VERDICT_PASSED;
    p->ip_header_bytes = (p->ip->version_and_words & 0xf) * 4;
    if (p->ip->version_and_words >> 4 != IPV4_VERSION || p->ip_header_bytes < IPV4_HEADER_BYTES_MIN)
        return VERDICT_PASSED;
    p->cursor = (void *)p->ip + p->ip_header_bytes; /* options are skipped */
    return FURTHER_PROCESSING;
}

/* The UDP ports, of the first bytes alone: a frame cut behind them is still known to be ours. */
static __always_inline int parse_ports(struct packet *p)
{
    p->udp = p->cursor;
    if (p->cursor + UDP_PORTS_BYTES > p->end)
        return VERDICT_PASSED;
    return FURTHER_PROCESSING;
}

/* The rest of UDP; lengths must agree from the inside out: UDP's with IP's, IP's with the frame (which may be padded). */
static __always_inline int parse_udp(struct packet *p)
{
    __u32 ip_bytes, udp_bytes;

    if ((void *)(p->udp + 1) > p->end)
        return VERDICT_TRUNCATED;
    if (p->ip->fragment & bpf_htons(IPV4_MORE_FRAGMENTS))
        return VERDICT_FRAGMENT;
    ip_bytes = bpf_ntohs(p->ip->total_length);
    udp_bytes = bpf_ntohs(p->udp->length);
    if (udp_bytes < sizeof(struct udp) || p->ip_header_bytes + udp_bytes != ip_bytes)
        return VERDICT_TRUNCATED;
    if (ip_bytes > (__u64)(p->end - (void *)p->ip))
        return VERDICT_TRUNCATED;
    p->payload_bytes = udp_bytes - sizeof(struct udp);
    p->cursor = p->udp + 1;
    return FURTHER_PROCESSING;
}

#endif
