/* For benchmarks: makes requests of the frames that BPF_PROG_TEST_RUN feeds it, and sends them out of its device. */
#include "kernel.h"

#if !defined(FRAME_BYTES) || !defined(HEADERS_BYTES) || !defined(TENANT_AT) || !defined(TOKEN_AT) || !defined(SEQUENCE_AT) || !defined(ENTRIES)
#error "the loader defines FRAME_BYTES, offsets in the frame, and the schedule's ENTRIES, a power of two"
#endif
#if !defined(KEY_AT) || !defined(VALUE_AT)
#error "the loader defines KEY_AT and VALUE_AT: offsets of the key's number; 0: not written"
#endif

struct request {
    __u64 number;
    __u64 tenant;
    __u64 token;
};

/* Which requests, in which order, over and over. Writer: user space. */
extern struct map schedule;

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
    __u8 headers[HEADERS_BYTES]; /* Ethernet, IP, UDP. Writer: user space, before the first run */
};
extern struct map progress;

int generate(struct xdp_md *ctx)
{
    void *frame = (void *)(long)ctx->data;
    __u32 first = 0, at;
    __u64 now = bpf_ktime_get_ns(), sum;
    struct progress *done = bpf_map_lookup_elem(&progress, &first);
    struct request *request;

    if (!done || frame + FRAME_BYTES > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    if (!done->first_ns)
        done->first_ns = done->next_ns = now;
    /* What comes too early is not sent: the frame is used again at once, until it is time. */
    if (done->gap_ns) {
        if (now < done->next_ns)
            return XDP_DROP;
        done->next_ns += done->gap_ns;
    }
    at = done->made & (ENTRIES - 1);
    request = bpf_map_lookup_elem(&schedule, &at);
    if (!request)
        return XDP_ABORTED;
    done->made += 1;
    done->last_ns = now;
    /* Frames come back as whoever had them left them: an echo turns addresses and ports around. */
    __builtin_memcpy(frame, done->headers, HEADERS_BYTES);
    sum = done->sum;
    if (SEQUENCE_AT) {
        *(__u64 *)(frame + SEQUENCE_AT) = done->made;
        sum += SUMMED(SEQUENCE_AT, done->made);
    }
    if (TENANT_AT) {
        *(__u32 *)(frame + TENANT_AT) = request->tenant;
        sum += SUMMED(TENANT_AT, request->tenant);
    }
    if (TOKEN_AT) {
        *(__u64 *)(frame + TOKEN_AT) = request->token;
        sum += SUMMED(TOKEN_AT, request->token);
    }
    if (KEY_AT) {
        *(__u64 *)(frame + KEY_AT) = request->number;
        sum += SUMMED(KEY_AT, request->number);
    }
    if (VALUE_AT) {
        *(__u64 *)(frame + VALUE_AT) = request->number;
        sum += SUMMED(VALUE_AT, request->number);
    }
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum ^= 0xffff;
    *(__u16 *)(frame + CHECKSUM_AT) = sum ? sum : 0xffff; /* 0 would say that there is none */
    return XDP_TX;
}
