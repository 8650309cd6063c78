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

/* Who may ask, and which core serves them: struct tenant by id. Writer: control plane. Mapped. */
extern struct map tenants;

/* How the tenants that have a limit stand to it: struct rate by id. Writer: this program; the control plane clears. Mapped. */
extern struct map rates;

/* Packets that wait for each core: struct depth. Writers: this program and the worker. Mapped. */
extern struct map depths;

/* The socket of (queue, core), at queue x CORES + core. Writer: supervisor. */
extern struct map xsks;

/* Packets by verdict, one cell for each CPU. Writer: this program. */
extern struct map counters;

#endif
