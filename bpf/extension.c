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
#include "durable.h"

#define value_block(scratch, end) block_before(scratch, end, SCRATCH_BYTES)
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

    s->frame.tenant = tenant;
    if (!account || length > sizeof(s->arguments))
        return 0;
    if (length && bpf_xdp_load_bytes(ctx, at, s->arguments, length))
        return 0;
    s->frame.arguments = SCRATCH_ARGUMENTS;
    s->frame.arguments_length = length;
    s->frame.budget = EXTENSION_BUDGET;
    s->snapshot = *(volatile __u64 *)&account->sequence;
    s->broken = 0;
    return is_durable(account, s->snapshot);
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

/* Answer with what a run has left: the verdict, or why the worker is to do it. A function of its own, since what it keeps on the stack
 * is much, and is not there while the extension runs. */
GLOBAL int answer_run(struct xdp_md *ctx, SCRATCH_PARAMETER, __u64 ended)
{
    struct key *key = (struct key *)&s->key_length;
    __u32 ip_at = bounded(s->ip_at, IP_AT_MASK), id, most, length;
    struct request request;
    struct asked asked;
    struct tenant *tenant;

    length = take_result(s, ended);
    if (s->broken)
        return VERDICT_OVER_INVOKE;
    if (!request_begin(&request, ctx, ip_at) || !remember(&asked, ctx, ip_at, &request))
        return VERDICT_OVER_INVOKE; /* cannot be: the caller has parsed it */
    id = request.header->tenant;
    most = value_bytes_max(request.header->status);
    tenant = bpf_map_lookup_elem(&tenants, &id);
    if (length > sizeof(s->arguments) || length > most)
        return VERDICT_OVER_SIZE;
    if (!tenant || check_token(tenant, request.header->token) != FURTHER_PROCESSING) /* as in look_up() */
        return VERDICT_OVER_COMMIT;
    length = launder(key, length, VALUE_MASK);
    return answer(ctx, key, &asked, 0, 0, (const __u8 *)s, SCRATCH_ARGUMENTS, length) ? VERDICT_KERNEL_RUN : VERDICT_OVER_SIZE;
}

/* Run the extension and answer; the verdict, or why the worker is to do it. */
static __always_inline int execute(struct xdp_md *ctx, struct extension_scratch *s)
{
    __u32 ip_at = bounded(s->ip_at, IP_AT_MASK);
    struct request request;
    __u64 ended;

    if (!request_begin(&request, ctx, ip_at))
        return VERDICT_OVER_INVOKE; /* cannot be: the caller has parsed it */
    if (!begin(ctx, s, &request, ip_at))
        return VERDICT_OVER_INVOKE;
    ended = run(s);
    if (ended == RUN_HAND_OVER)
        return VERDICT_OVER_INVOKE;
    return answer_run(ctx, s, ended);
}

/* The core that serves the extension's tenant; CORES: none. */
static __always_inline __u32 home_of(__u32 id)
{
    struct tenant *tenant = bpf_map_lookup_elem(&tenants, &id);

    return tenant ? tenant->home : CORES;
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
    __u32 number = bpf_get_smp_processor_id(), zero = 0;
    struct cpu *cpu = bpf_map_lookup_elem(&cpu_epochs, &number);
    struct extension_scratch *s = bpf_map_lookup_elem(&extension_scratch, &zero);
    int verdict;

    if (!cpu || !s)
        return XDP_DROP; /* cannot be: the caller had both */
    verdict = execute(ctx, s);
    epoch_leave(cpu);
    count(verdict);
    if (verdict == VERDICT_KERNEL_RUN) {
        account_for(cpu, s, number);
        return XDP_TX;
    }
    verdict = steer(ctx, home_of(s->frame.tenant));
    count(verdict);
    return verdict == VERDICT_STEERED ? XDP_REDIRECT : XDP_DROP;
}
