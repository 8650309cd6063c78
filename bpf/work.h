/* What the tier does for whom, counted, and a tenant's share of it. No clock is read but once in each tick of the kernel. */
#ifndef SPLINTER_WORK_H
#define SPLINTER_WORK_H

static __always_inline struct tenant_work *work_of(__u32 cpu_number, __u32 tenant)
{
    __u32 at = cpu_number * TENANTS_MAX + tenant;

    return bpf_map_lookup_elem(&tenant_work, &at);
}

/*
 * Whether a tenant has had its share of this CPU in the present window: half of what the CPU can do in one, if others were served
 * there in the window too. A tenant alone is never limited. Windows are as long as WINDOW_NS, or one tick, if that is longer.
 */
static __always_inline int is_over_share(struct cpu *cpu, struct tenant_work *work)
{
    __u64 jiffy = bpf_jiffies64(), now;

    if (jiffy != cpu->jiffy) {
        cpu->jiffy = jiffy;
        now = bpf_ktime_get_ns();
        if ((__s64)(now - cpu->since_ns) >= (__s64)WINDOW_NS) {
            cpu->since_ns = now;
            cpu->window += 1;
            cpu->units = 0;
        }
    }
    if (work->window != cpu->window) {
        work->window = cpu->window;
        work->spent = 0;
    }
    return work->spent * 2 > tier_value.window_units && cpu->units != work->spent;
}

static __always_inline void count_work(struct cpu *cpu, struct tenant_work *work, __u32 bytes)
{
    __u64 units = WORK_UNITS_PER_GET + (bytes >> WORK_BYTES_PER_UNIT_SHIFT);

    cpu->units += units;
    work->spent += units;
    work->units += units;
    work->gets += 1;
}

/* Of a run of an extension, by what it has spent of its budget. */
static __always_inline void count_run(struct cpu *cpu, struct tenant_work *work, __u64 budget_spent)
{
    __u64 units = WORK_UNITS_PER_GET + (budget_spent >> WORK_BUDGET_PER_UNIT_SHIFT);

    cpu->units += units;
    work->spent += units;
    work->units += units;
}

#endif
