/* Counting. */
#ifndef SPLINTER_COUNTERS_H
#define SPLINTER_COUNTERS_H

static __always_inline void count(enum verdict verdict)
{
    __u32 index = verdict;
    __u64 *cell = bpf_map_lookup_elem(&counters, &index);

    if (cell)
        *cell += 1; /* the CPU's own cell: no other CPU writes it */
}

#endif
