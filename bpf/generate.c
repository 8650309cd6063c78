/* For benchmarks: makes requests of the frames that BPF_PROG_TEST_RUN feeds it, and sends them out of its device. */
#include <uapi/linux/bpf.h>

#if !defined(FRAME_BYTES) || !defined(TENANT_AT) || !defined(TOKEN_AT) || !defined(SEQUENCE_AT) || !defined(ENTRIES)
#error "the loader defines FRAME_BYTES, offsets in the frame, and the schedule's ENTRIES, a power of two"
#endif
#if !defined(KEY_AT) || !defined(VALUE_AT)
#error "the loader defines KEY_AT and VALUE_AT: offsets of the key's number; 0: not written"
#endif

struct request {
    u64 number;
    u64 tenant;
    u64 token;
};

/* Which requests, in which order, over and over. Writer: user space. */
BPF_F_TABLE("array", u32, struct request, schedule, ENTRIES, BPF_F_MMAPABLE);

/* How many were made. Writer: this program, on one CPU at a time. */
BPF_F_TABLE("array", u32, u64, made, 1, BPF_F_MMAPABLE);

int generate(struct xdp_md *ctx)
{
    void *frame = (void *)(long)ctx->data;
    u32 first = 0, at;
    u64 *count = made.lookup(&first);
    struct request *request;

    if (!count || frame + FRAME_BYTES > (void *)(long)ctx->data_end)
        return XDP_ABORTED;
    at = *count & (ENTRIES - 1);
    request = schedule.lookup(&at);
    if (!request)
        return XDP_ABORTED;
    *count += 1;
    *(u64 *)(frame + SEQUENCE_AT) = *count;
    *(u32 *)(frame + TENANT_AT) = request->tenant;
    *(u64 *)(frame + TOKEN_AT) = request->token;
    if (KEY_AT)
        *(u64 *)(frame + KEY_AT) = request->number;
    if (VALUE_AT)
        *(u64 *)(frame + VALUE_AT) = request->number;
    return XDP_TX;
}
