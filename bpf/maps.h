/*
 * Maps. The loader makes them; splinter/net/xdp/server.py has their kinds and sizes. Those that user space maps are shared
 * memory: it sees the same bytes.
 */
#ifndef SPLINTER_MAPS_H
#define SPLINTER_MAPS_H

#ifndef CORES
#error "the loader defines CORES"
#endif

/* The IPv4 addresses that are ours (ADDRESS_OWN), and those that nobody sends from (ADDRESS_GROUP); in network byte order.
 * The MAC addresses that are ours, as 48-bit numbers, the first byte lowest. Writer of both: supervisor. */
extern struct map addresses, macs;

/* One of each that is ours: looked at first. Writer: supervisor. */
extern struct map usual;
extern struct usual usual_value;

/* Who may ask, and which core serves them: struct tenant by id. Writer: control plane. Mapped. */
extern struct map tenants;

/* How the tenants that have a limit stand to it: struct rate by id. Writer: this program; the control plane clears. Mapped. */
extern struct map rates;

/* Packets that wait for each core: struct depth. Writers: this program and the worker. Mapped. */
extern struct map depths;

/* The socket of (queue, core), at queue x CORES + core. Writer: supervisor. */
extern struct map xsks;

/* The store: its descriptor (the first bytes of store_state), struct account by tenant, struct bucket, slabs of SLAB_BYTES.
 * Writers: workers and control plane. Mapped. */
extern struct map store_state, accounts, store_index, store_slabs;
extern struct store_descriptor store_state_value;

/* Of the tier: what it must know (one element), struct cpu by CPU, struct tenant_work at CPU x TENANTS_MAX + tenant. Mapped. */
extern struct map tier, cpu_epochs, tenant_work;
extern struct tier tier_value;

/* Of extensions: their programs and the invocations that each has ended, by the slot in its record; struct extension_scratch,
 * one for each CPU. Writer of the programs: control plane. */
extern struct map kernel_extensions, extension_counts, extension_scratch;

/* Packets by verdict, one cell for each CPU. Writer: this program. */
extern struct map counters;

#endif
