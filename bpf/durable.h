/*
 * What may be told of a tenant's commits: see splinter/worker/durable.py. The loader defines DURABLE: 1 where there is a data folder;
 * else no tenant waits for a disk, and nothing of this is compiled.
 */
#ifndef SPLINTER_DURABLE_H
#define SPLINTER_DURABLE_H

#ifndef DURABLE
#define DURABLE 0
#endif

/* Whether commit `sequence` of a tenant may be told of: it is on the disk, or its tenant does not ask for that. Read after what is
 * told of was read: what is on the disk stays there. */
static __always_inline int is_durable(const struct account *account, __u64 sequence)
{
    return !DURABLE || *(volatile __u64 *)&account->durability != DURABILITY_ALWAYS ||
           sequence <= *(volatile __u64 *)&account->durable;
}

/* The last deletion that a look-up which found nothing may have seen: as last_deletion() of splinter/store/snapshots.py. */
static __always_inline __u64 last_deletion(const struct account *account)
{
    __u64 deleted = *(volatile __u64 *)&account->deleted, sequence = *(volatile __u64 *)&account->sequence;

    return deleted < sequence ? deleted : sequence;
}

/* Whether it may be told what a look-up has found: the object of a version, or (0) none, which tells of the last deletion. */
static __always_inline int may_be_told(__u32 tenant, __u64 version)
{
    struct account *account;

    if (!DURABLE)
        return 1;
    account = bpf_map_lookup_elem(&accounts, &tenant);
    return account && is_durable(account, version ? version >> 1 : last_deletion(account));
}

#endif
