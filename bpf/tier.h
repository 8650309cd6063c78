/*
 * The tier: a get answered here, from the store, as the tenant's worker would answer it. What it is not sure of is the worker's,
 * as if there were no tier; each such get is counted by its reason.
 */
#ifndef SPLINTER_TIER_H
#define SPLINTER_TIER_H

#if !defined(TIER)
#error "the loader defines TIER: 1 to answer gets here"
#endif

#if TIER
#include "checksum.h"
#include "epoch.h"
#include "pause.h"
#include "work.h"
#include "store.h"
#include "expiry.h"
#include "durable.h"
#define value_block(slab, end) block_before(slab, end, SLAB_BYTES)
#include "answer.h"
#include "room.h"
#include "invoke.h"

/* Well-formed, in a frame that is answered as it came: an invoke, or a get of the newest value of one key, whole. */
static __always_inline int is_plain(const struct request *request)
{
    const struct splinter_header *header = request->header;
    __u32 key_length = header->key_length, payload_bytes = bpf_ntohs(request->udp->length) - sizeof(struct udp);

    return request->ip->version_and_words == IPV4_PLAIN && header->version == SPLINTER_VERSION && header->table < TABLES_MAX &&
           key_length >= 1 && key_length <= KEY_BYTES_MAX && payload_bytes <= UDP_PAYLOAD_BYTES_MAX &&
           (__u64)SPLINTER_HEADER_BYTES + key_length + header->value_length == payload_bytes &&
           header->fragment_index == 0 &&
           (is_invoke(header) ? key_length <= EXTENSION_NAME_BYTES_MAX : header->object_version == 0);
}

/* The sum of what follows the header: 1 to VALUE_MASK bytes. If they are odd in number, the words that end with them begin at odd
 * places, so their sum is turned by a byte. 0: they do not lie in the packet, which cannot be. */
static __always_inline __u64 body_sum(const struct request *request, struct key *key, __u32 bytes)
{
    const __u8 *front = (const __u8 *)(request->header + 1) - BLOCK_BYTES;
    __u64 left = launder(key, bytes, VALUE_MASK), turn = (left & 1) * 8;
    const struct block *block;
    __u64 word, sum = WHOLE; /* which counts as nothing, and is not 0 where all bytes are */

#pragma clang loop unroll(disable)
    for (;; left -= BLOCK_BYTES) {
        block = (const void *)(front + bounded(left, VALUE_MASK));
        if ((const void *)(block + 1) > request->end)
            return 0;
        if (left <= BLOCK_BYTES)
            break;
        sum += block_sum(block);
    }
    word = first_sum(block, left, &sum);
    return (sum << turn) + word_sum(word);
}

/* Whether the frame is as it was sent: see is_intact() of splinter/worker/xdp/frame.py. */
static __always_inline int is_intact(const struct request *request, struct key *key, const struct asked *asked)
{
    const struct splinter_header *header = request->header;
    __u32 bytes = bpf_ntohs(request->udp->length), checksum = request->udp->checksum;
    __u64 addresses = word_sum(asked->addresses), sum, body;

    sum = word_sum(*(__u64 *)request->ip) + *(__u32 *)((void *)request->ip + 8) + addresses;
    if (!checksum || !is_whole(sum))
        return 0;
    sum = pseudo_sum(addresses, request->udp->length);
    if (tier_value.takes_partial && checksum == fold(sum))
        return 1;
    body = body_sum(request, key, bytes - sizeof(struct udp) - SPLINTER_HEADER_BYTES);
    if (!body)
        return 0;
    sum += asked->sum + request->udp->length + checksum + ((__u64)header->status << 16) + ((__u64)header->flags << 24);
    sum += ((__u64)header->key_length << 16) + word_sum(header->token) + header->value_length;
    sum += *(__u32 *)&header->fragment_index + word_sum(header->object_version) + word_sum(header->acknowledged);
    return is_whole(sum + body);
}

/* Put the key where look-ups want it; 0: it does not lie in the packet, which cannot be. */
static __always_inline int copy_key(const struct request *request, struct key *key, __u32 bytes)
{
    const __u8 *front = (const __u8 *)(request->header + 1) - BLOCK_BYTES;
    const struct block *block;
    __s64 left;

    key->length = bytes;
#pragma clang loop unroll(disable)
    for (left = key_length(key); left > 0; left -= BLOCK_BYTES) {
        block = (const void *)(front + bounded(left, KEY_BYTES_MAX));
        if ((const void *)(block + 1) > request->end)
            return 0;
        *key_block(key, left) = *block;
    }
    return 1;
}

/* Nothing was found, for the first or second time: whether a commit that hides objects, and is not counted, may be why. */
static __always_inline int may_be_hidden(__u32 tenant, int is_first, __u64 *sequence)
{
    struct account *account = bpf_map_lookup_elem(&accounts, &tenant);

    if (!account)
        return 1;
    pause_at(PAUSE_MISSING);
    if (is_first)
        *sequence = *(volatile __u64 *)&account->sequence;
    pause_at(PAUSE_SEQUENCE);
    return *(volatile __u64 *)&account->deleted > *sequence;
}

/*
 * As store_find(), of commits that are counted. What is not found may have been hidden by a commit that was then taken back: it is
 * looked for once more. A commit that hides objects from now on says so with a number later than the one that was read first.
 */
static __always_inline int find_counted(struct key *key, __u64 identity, __u32 tenant, struct walk *walk)
{
    __u64 hashed = store_hash(key, identity), sequence = 0;

#pragma clang loop unroll(disable)
    for (int look = 0; look < 2; look++) {
        int is_found = store_find(key, identity, hashed, walk);

        if (is_found)
            return is_found;
        if (may_be_hidden(tenant, look == 0, &sequence))
            return -1;
    }
    return 0;
}

/*
 * Look the key up and answer; the CPU is in an epoch. `ip_at` is where the IP header begins in the frame; `bytes` becomes how many
 * were summed up or copied. Returns the verdict, or the reason why the worker is to do it.
 */
static __always_inline int look_up(struct xdp_md *ctx, struct key *key, __u32 ip_at, struct tenant *tenant, __u32 *bytes)
{
    struct request request;
    struct walk walk = {};
    struct call call;
    struct asked asked;
    __u64 identity, token, version;
    __u32 id, most, value_at, value_bytes;
    int is_found;

    pause_at(PAUSE_ENTERED);
    ip_at = launder(key, ip_at, IP_AT_MASK);
    if (!request_begin(&request, ctx, ip_at) || !is_plain(&request) || !remember(&asked, ctx, ip_at, &request))
        return VERDICT_OVER_PLAIN;
    *bytes = bpf_ntohs(request.udp->length);
    call_begin(&call, request.header, ip_at);
    id = request.header->tenant;
    token = request.header->token;
    most = value_bytes_max(request.header->status);
    identity = identity_of(id, call.is_invoke ? TABLE_EXTENSIONS : request.header->table, request.header->key_length);
    if (!is_intact(&request, key, &asked))
        return VERDICT_OVER_DAMAGED;
    if (!copy_key(&request, key, request.header->key_length))
        return VERDICT_OVER_PLAIN; /* cannot be: is_plain() has compared the lengths */
    /* From here on the frame is not read any more. */
    is_found = find_counted(key, identity, id, &walk);
    if (is_found < 0)
        return VERDICT_OVER_COMMIT;
    if (is_found) {
        pause_at(PAUSE_KEY);
        version = *(volatile __u64 *)(walk.slab + walk.at);
        pause_at(PAUSE_VERSION);
        if (version & 1 || !version)
            return VERDICT_OVER_COMMIT;
        if (call.is_invoke) {
            call_extension(ctx, &walk, &call);
            return VERDICT_OVER_INVOKE;
        }
    } else if (call.is_invoke) {
        return VERDICT_OVER_INVOKE;
    }
    /* What was found by now was this tenant's if its token is valid still: an id that is another's has another token. */
    if (check_token(tenant, token) != FURTHER_PROCESSING)
        return VERDICT_OVER_COMMIT;
    pause_at(PAUSE_TOKEN);
    if (!may_be_told(id, is_found ? version : 0))
        return VERDICT_OVER_COMMIT;
    if (!is_found) {
        *bytes += NOT_FOUND_BYTES;
        return answer(ctx, key, &asked, NOT_FOUND, 0, NULL, 0, NOT_FOUND_BYTES) ? VERDICT_KERNEL_MISS : VERDICT_OVER_SIZE;
    }
    value_bytes = ((struct object *)(walk.slab + walk.at))->lengths;
    value_at = walk.at + sizeof(struct object) + (value_bytes & KEY_BYTES_MAX);
    if (is_over(key, &walk, value_bytes))
        return VERDICT_OVER_EXPIRED;
    if (is_large(value_bytes) || value_length(value_bytes) > most)
        return VERDICT_OVER_SIZE;
    value_bytes = value_length(value_bytes);
    mark_used(&walk);
    *bytes += value_bytes;
    asked.fragment = 1 << 16;
    value_bytes = launder(key, value_bytes, VALUE_MASK);
    return answer(ctx, key, &asked, 0, version, walk.slab, value_at, value_bytes) ? VERDICT_KERNEL_HIT : VERDICT_OVER_SIZE;
}

/* Answer a get or an invoke of an authorised tenant. FURTHER_PROCESSING: it is the worker's, and the frame is as it came. */
static __always_inline int serve(struct xdp_md *ctx, const struct packet *p, struct tenant *tenant)
{
    __u32 number = bpf_get_smp_processor_id(), ip_at = (void *)p->ip - (void *)p->ethernet, bytes = 0;
    __u32 id = ((struct splinter_header *)p->cursor)->tenant;
    struct cpu *cpu = bpf_map_lookup_elem(&cpu_epochs, &number);
    struct tenant_work *work = work_of(number, id);
    int verdict;

    if (!cpu || !work) {
        verdict = VERDICT_OVER_CPU;
    } else if (is_over_share(cpu, work)) {
        verdict = VERDICT_OVER_SHARE;
    } else if (!epoch_enter(cpu)) {
        verdict = VERDICT_OVER_CPU;
    } else {
        verdict = look_up(ctx, (struct key *)&cpu->key_length, ip_at, tenant, &bytes);
        epoch_leave(cpu);
        if (verdict == VERDICT_KERNEL_HIT || verdict == VERDICT_KERNEL_MISS) {
            count_work(cpu, work, bytes);
            return verdict;
        }
    }
    count(verdict);
    return FURTHER_PROCESSING;
}

#endif
#endif
