/* Constants: of the protocols below ours, and what the loader must define. */
#ifndef SPLINTER_CONSTANTS_H
#define SPLINTER_CONSTANTS_H

#ifndef PORT
#error "the loader defines PORT: UDP port, host byte order"
#endif

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_TAGGED 0x8100 /* 802.1Q; frames with a second tag (802.1ad, or two of these) are not ours */
#define MAC_GROUP 1             /* of a MAC address's first byte: multicast or broadcast */
#define MULTICAST_FROM 224      /* first bytes of IPv4 addresses: group, reserved and broadcast addresses from here on */
#define LOOPBACK 127
#define PROTOCOL_UDP 17
#define IPV4_VERSION 4
#define IPV4_HEADER_BYTES_MIN 20
#define IPV4_FRAGMENT_OFFSET 0x1fff
#define IPV4_MORE_FRAGMENTS 0x2000
#define UDP_PORTS_BYTES 4

/* Every step returns a verdict, or this: go on to the next step. */
#define FURTHER_PROCESSING (-1)

#endif
