/* Each CPU is a participant of the store's epochs (splinter/store/epochs.py) while the program reads the store on it. */
#ifndef SPLINTER_EPOCH_H
#define SPLINTER_EPOCH_H

/*
 * Publish the global epoch in the CPU's cell. What is found in the index from now on stays as it is until epoch_leave(): the
 * compare-and-swap is a full barrier, so no look-up is done before the epoch is visible. Returns 0 when the cell is in use: this
 * packet interrupted another one on this CPU, whose epoch may be older and must stay.
 */
static __always_inline int epoch_enter(struct cpu *cpu)
{
    __u64 epoch = *(volatile __u64 *)&store_state_value.epoch;

    return __sync_val_compare_and_swap(&cpu->epoch, EPOCH_OFFLINE, epoch) == EPOCH_OFFLINE;
}

/* Nothing is referred to any more. (x86 moves no load behind a later store; the tier runs on nothing else.) */
static __always_inline void epoch_leave(struct cpu *cpu)
{
    *(volatile __u64 *)&cpu->epoch = EPOCH_OFFLINE;
}

#endif
