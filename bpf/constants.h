/* Constants: of the protocols below ours, and what the loader must define. */
#ifndef SPLINTER_CONSTANTS_H
#define SPLINTER_CONSTANTS_H

#ifndef PORT
#error "the loader defines PORT: UDP port, host byte order"
#endif
#ifndef ADDRESS
#define ADDRESS 0 /* IPv4 address served, host byte order; 0: any */
#endif

#define ETHERTYPE_IPV4 0x0800
#define PROTOCOL_UDP 17
#define IPV4_VERSION 4
#define IPV4_HEADER_BYTES_MIN 20
#define IPV4_FRAGMENT_OFFSET 0x1fff
#define IPV4_MORE_FRAGMENTS 0x2000
#define UDP_PORTS_BYTES 4

#define __always_inline inline __attribute__((always_inline))

/* Every step returns a verdict, or this: go on to the next step. */
#define FURTHER_PROCESSING (-1)

#endif
