/* Maps. Those with BPF_F_MMAPABLE are shared memory: user space maps the same bytes. The loader defines the sizes. */
#ifndef SPLINTER_MAPS_H
#define SPLINTER_MAPS_H

#if !defined(CORES) || !defined(SOCKETS) || !defined(TENANTS) || !defined(INDEX_BUCKETS) || !defined(SLABS)
#error "the loader defines CORES, SOCKETS (queues x cores), TENANTS, INDEX_BUCKETS, SLABS"
#endif

struct bucket {
    __u8 bytes[BUCKET_BYTES];
};

struct slab {
    __u8 bytes[SLAB_BYTES];
};

/* The IPv4 addresses that are ours (ADDRESS_OWN), and those that nobody sends from (ADDRESS_GROUP); in network byte order.
 * The MAC addresses that are ours, as 48-bit numbers, the first byte lowest. Writer of both: supervisor. */
BPF_HASH(addresses, __be32, u32, ADDRESSES);
BPF_HASH(macs, u64, u32, ADDRESSES);

/* Who may ask, and which core serves them. Writer: control plane. */
BPF_F_TABLE("array", u32, struct tenant, tenants, TENANTS, BPF_F_MMAPABLE);

/* How the tenants that have a limit stand to it. Writer: this program; the control plane clears. */
BPF_F_TABLE("array", u32, struct rate, rates, TENANTS, BPF_F_MMAPABLE);

/* Packets that wait for each core. Writers: this program and the worker. */
BPF_F_TABLE("array", u32, struct depth, depths, CORES, BPF_F_MMAPABLE);

/* The socket of (queue, core), at queue x CORES + core. Writer: supervisor. */
BPF_XSKMAP(xsks, SOCKETS);

/* The store. Writers: workers and control plane. */
BPF_F_TABLE("array", u32, struct bucket, store_index, INDEX_BUCKETS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct slab, store_slabs, SLABS, BPF_F_MMAPABLE);

/* Packets by verdict, one cell for each CPU. Writer: this program. */
BPF_PERCPU_ARRAY(counters, u64, VERDICTS);

#endif
