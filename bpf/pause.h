/* Places where a test build waits until a test lets it go on: so that a writer's step comes in between, for certain. */
#ifndef SPLINTER_PAUSE_H
#define SPLINTER_PAUSE_H

#ifdef PAUSES
#define PAUSE_ROUNDS (1 << 23) /* the most that there may be: a twentieth of a second */
#define PAUSES_MAX 200 /* then it gives up */

extern struct map pausing;
extern struct pausing pausing_value;

static long is_over(__u64 round, __u64 *place)
{
    return *(volatile __u64 *)&pausing_value.at != *place;
}

static long hold(__u64 round, __u64 *place)
{
    bpf_loop(PAUSE_ROUNDS, is_over, place, 0);
    return is_over(0, place);
}

__attribute__((noinline)) int pause_here(__u64 place)
{
    if (*(volatile __u64 *)&pausing_value.at != place)
        return 0;
    *(volatile __u64 *)&pausing_value.arrived = place;
    bpf_loop(PAUSES_MAX, hold, &place, 0);
    return 0;
}
#else
#define pause_here(place)
#endif

#endif
