/* How large an answer may be. */
#ifndef SPLINTER_ROOM_H
#define SPLINTER_ROOM_H

#define ROOM_MIN (UDP_PAYLOAD_BYTES_MIN / ROOM_UNIT_BYTES)

/* Bytes of value that the answer may have: what fits the device's packets and the client's. */
static __always_inline __u32 value_bytes_max(__u32 room)
{
    __u32 most = tier_value.packet_bytes_max, asked;

    if (room) {
        asked = (room < ROOM_MIN ? ROOM_MIN : room) * ROOM_UNIT_BYTES;
        if (asked < most)
            most = asked;
    }
    return most - SPLINTER_HEADER_BYTES;
}

#endif
