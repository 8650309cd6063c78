/*
 * What programs have in common that BPF_PROG_TEST_RUN feeds with frames, to send them out of a device: progress, the frame as it
 * is to be, and its checksum with the numbers that were written into it.
 */
#ifndef SPLINTER_MADE_H
#define SPLINTER_MADE_H

#if !defined(MADE_BYTES) || !defined(HEADERS_BYTES)
#error "the loader defines MADE_BYTES, and HEADERS_BYTES of them, of Ethernet, IP and UDP"
#endif

/* Reads of the numbers in a ones' complement sum (RFC 1071). Those at odd offsets are shifted by a byte, which is a rotation. */
#define HALVES(value) ((((value) & 0xffffffffull) + ((value) >> 32)))
#define SUMMED(at, value) (((at) & 1) ? HALVES(value) << 8 : HALVES(value))
#define CHECKSUM_AT (HEADERS_BYTES - 2) /* of UDP, whose header is the last */

/* How many were made, on one CPU at a time (writer: this program), and when the next one is due. */
struct progress {
    __u64 made;
    __u64 gap_ns; /* between two; 0: as many as can be. Writer: user space, between runs */
    __u64 next_ns; /* Writer: this program */
    __u64 first_ns; /* when a run's first and last frame were made. Writer: this program; 0 between runs (user space) */
    __u64 last_ns;
    __u64 sum; /* of the UDP datagram and its pseudo header, with all numbers 0. Writer: user space, before the first run */
    __u8 frame[(MADE_BYTES + 7) / 8 * 8]; /* Ethernet, IP, UDP, payload. Writer: user space, before the first run */
};
extern struct map progress;

#define COPY(type, to, from, at) (*(type *)((to) + (at)) = *(type *)((from) + (at)))

static __always_inline void copy_frame(void *to, const void *from)
{
#pragma unroll
    for (int at = 0; at + 8 <= MADE_BYTES; at += 8)
        COPY(__u64, to, from, at);
    if (MADE_BYTES & 4)
        COPY(__u32, to, from, MADE_BYTES / 8 * 8);
    if (MADE_BYTES & 2)
        COPY(__u16, to, from, MADE_BYTES / 4 * 4);
    if (MADE_BYTES & 1)
        COPY(__u8, to, from, MADE_BYTES - 1);
}

/* The next frame's turn: 0 when it is too early for it, and the frame is used again at once, until it is time. */
static __always_inline int take_turn(struct progress *done)
{
    __u64 now = bpf_ktime_get_ns();

    if (!done->first_ns)
        done->first_ns = done->next_ns = now;
    if (done->gap_ns) {
        if (now < done->next_ns)
            return 0;
        done->next_ns += done->gap_ns;
    }
    done->made += 1;
    done->last_ns = now;
    return 1;
}

/* The UDP checksum of a frame, with the sum of what was written into it. */
static __always_inline void write_checksum(void *frame, __u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum ^= 0xffff;
    *(__u16 *)(frame + CHECKSUM_AT) = sum ? sum : 0xffff; /* 0 would say that there is none */
}

#endif
