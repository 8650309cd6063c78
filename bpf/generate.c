/* For benchmarks: makes requests of the frames that BPF_PROG_TEST_RUN feeds it, and sends them out of its device. */
#include "kernel.h"
#include "made.h"

#if !defined(TENANT_AT) || !defined(TOKEN_AT) || !defined(SEQUENCE_AT) || !defined(ENTRIES)
#error "the loader defines offsets in the frame, and the schedule's ENTRIES, a power of two"
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

int generate(struct xdp_md *ctx)
{
    void *frame = (void *)(long)ctx->data;
    __u32 first = 0, at;
    __u64 sum;
    struct progress *done = bpf_map_lookup_elem(&progress, &first);
    struct request *request;

    if (!done || frame + MADE_BYTES > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    at = done->made & (ENTRIES - 1);
    request = bpf_map_lookup_elem(&schedule, &at);
    if (!request)
        return XDP_ABORTED;
    if (!take_turn(done))
        return XDP_DROP;
    /* Frames come back as whoever had them left them: an echo turns addresses and ports around, a store's program makes the
     * request a reply. */
    copy_frame(frame, done->frame);
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
    write_checksum(frame, sum);
    return XDP_TX;
}
