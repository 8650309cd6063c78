/*
 * The program of an extension that runs in the kernel. bpf/splinter.c has authenticated the request, verified its checksums, found
 * the extension's record and entered an epoch when it calls this; run() is the code that the compiler made of the extension.
 *
 * The extension reads one snapshot of its tenant's objects and writes nothing. Whatever it cannot do (an error, a yield, too much
 * work, an object that is newer than the snapshot) is the worker's, from the beginning: nothing has happened.
 */
#include "kernel.h"
#include "constants.h"
#include "wire.h"
#include "shared.h"
#include "maps.h"
#include "counters.h"
#include "parsing.h"
#include "token.h"
#include "steer.h"
#include "checksum.h"
#include "epoch.h"
#include "pause.h"
#include "work.h"
#include "memory.h"

/* The eight bytes of the record that end at a place: answer.h takes the result from there. */
static __always_inline int value_word(const __u8 *scratch, __u64 end, __u64 *word)
{
    *word = *(const __u64 *)(scratch + bounded(end - 8, SCRATCH_BYTES - 1));
    return 1;
}

#include "answer.h"
#include "room.h"

/* Stands for the extension's code, which the loader puts in its place. */
__attribute__((noinline)) __u64 run(SCRATCH_PARAMETER)
{
    __u64 code = RUN_HAND_OVER;

    hide(code);
    return s ? code : 0;
}

/* Fill the frame as a worker's invoke() does. 0: it cannot be. */
static __always_inline int begin(struct xdp_md *ctx, struct extension_scratch *s, const struct request *request, __u32 ip_at)
{
    __u32 tenant = request->header->tenant, length = request->header->value_length;
    __u32 at = ip_at + sizeof(struct ipv4) + sizeof(struct udp) + SPLINTER_HEADER_BYTES + request->header->key_length;
    struct account *account = bpf_map_lookup_elem(&accounts, &tenant);

    if (!account || length > sizeof(s->arguments))
        return 0;
    if (length && bpf_xdp_load_bytes(ctx, at, s->arguments, length))
        return 0;
    s->frame.arguments = SCRATCH_ARGUMENTS;
    s->frame.arguments_length = length;
    s->frame.tenant = tenant;
    s->frame.budget = EXTENSION_BUDGET;
    s->snapshot = *(volatile __u64 *)&account->sequence;
    s->broken = 0;
    return 1;
}

/* Put the result where the answer takes it from; returns its bytes, or more than an answer has: it is too large. */
static __always_inline __u32 take_result(struct extension_scratch *s, __u64 ended)
{
    __u32 length = s->frame.result_length;

    if (ended == RUN_DONE_SCALAR) {
        *(__u64 *)s->arguments = s->frame.result;
        return 8;
    }
    if (ended != RUN_DONE_BYTES)
        return 0;
    if (length <= sizeof(s->arguments))
        copy(s, SCRATCH_ARGUMENTS, s->frame.result, length);
    return length;
}

/* Run the extension and answer; the verdict, or why the worker is to do it. */
static __always_inline int execute(struct xdp_md *ctx, struct extension_scratch *s, __u32 *home)
{
    struct key *key = (struct key *)&s->key_length;
    __u32 ip_at = bounded(s->ip_at, IP_AT_MASK), id, most, length;
    struct request request;
    struct asked asked;
    struct tenant *tenant;
    __u64 ended, token;

    if (!request_begin(&request, ctx, ip_at) || !remember(&asked, ctx, ip_at, &request))
        return VERDICT_TRUNCATED; /* cannot be: the caller has parsed it */
    id = request.header->tenant;
    token = request.header->token;
    most = value_bytes_max(request.header->status);
    tenant = bpf_map_lookup_elem(&tenants, &id);
    if (!tenant)
        return VERDICT_UNKNOWN_TENANT;
    *home = tenant->home;
    if (!begin(ctx, s, &request, ip_at))
        return VERDICT_OVER_INVOKE;
    ended = run(s);
    if (ended == RUN_HAND_OVER)
        return VERDICT_OVER_INVOKE;
    length = take_result(s, ended);
    if (s->broken)
        return VERDICT_OVER_INVOKE;
    if (length > sizeof(s->arguments) || length > most)
        return VERDICT_OVER_SIZE;
    if (check_token(tenant, token) != FURTHER_PROCESSING) /* as in look_up() */
        return VERDICT_OVER_COMMIT;
    length = launder(key, length, VALUE_MASK);
    return answer(ctx, key, &asked, 0, 0, (const __u8 *)s, SCRATCH_ARGUMENTS, length) ? VERDICT_KERNEL_RUN : VERDICT_OVER_SIZE;
}

static __always_inline void account_for(struct cpu *cpu, struct extension_scratch *s, __u32 number)
{
    struct tenant_work *work = work_of(number, s->frame.tenant);
    __u32 slot = s->slot;
    __u64 *invocations = bpf_map_lookup_elem(&extension_counts, &slot);

    if (work)
        count_run(cpu, work, EXTENSION_BUDGET - s->frame.budget);
    if (invocations)
        *invocations += 1; /* the CPU's own cell */
}

int extension(struct xdp_md *ctx)
{
    __u32 number = bpf_get_smp_processor_id(), zero = 0, home = CORES;
    struct cpu *cpu = bpf_map_lookup_elem(&cpu_epochs, &number);
    struct extension_scratch *s = bpf_map_lookup_elem(&extension_scratch, &zero);
    int verdict;

    if (!cpu || !s)
        return XDP_DROP; /* cannot be: the caller had both */
    verdict = execute(ctx, s, &home);
    epoch_leave(cpu);
    count(verdict);
    if (verdict == VERDICT_KERNEL_RUN) {
        account_for(cpu, s, number);
        return XDP_TX;
    }
    verdict = steer(ctx, home);
    count(verdict);
    return verdict == VERDICT_STEERED ? XDP_REDIRECT : XDP_DROP;
}
