/*
 * For tests: places at which the program waits until it is let go on, so that anything can be done meanwhile. Only with PAUSES is
 * anything compiled in.
 */
#ifndef SPLINTER_PAUSE_H
#define SPLINTER_PAUSE_H

enum pause {
    PAUSE_NOWHERE,
    PAUSE_ENTERED,  /* the epoch is published, nothing of the store is read yet */
    PAUSE_BUCKET,   /* a bucket is found, none of its entries is read */
    PAUSE_ENTRY,    /* an entry with the key's tag is read, its object is not */
    PAUSE_IDENTITY, /* the object's identity is the key's */
    PAUSE_KEY,      /* and its key */
    PAUSE_VERSION,  /* its version is read */
    PAUSE_MISSING,  /* nothing was found */
    PAUSE_SEQUENCE, /* nothing was found; the number of the last commit is read, that of the last deletion is not */
    PAUSE_TOKEN,    /* all is read but the value */
    PAUSES_END
};

#ifdef PAUSES
/* The map `pauses`, one element: where to wait, and where the program waits, or has waited. Writers: the test; this program. */
extern struct map pauses;
extern __u64 pauses_value[2];

#define PAUSES_MAX 16 /* four seconds, then it gives up: nobody else has its CPU meanwhile */

/* Wait; 0: a quarter of a second is over, which is when the kernel ends a function's loop (may_goto). */
__attribute__((noinline)) int pause_once(__u64 place)
{
#pragma clang loop unroll(disable)
    while (*(volatile __u64 *)&pauses_value[0] == place)
        asm goto("may_goto %l[let_go]" : : : : let_go);
    return 1;
let_go:
    return 0;
}

__attribute__((noinline)) int pause_at(__u64 place)
{
    if (*(volatile __u64 *)&pauses_value[0] != place)
        return 0;
    *(volatile __u64 *)&pauses_value[1] = place;
#pragma clang loop unroll(disable)
    for (int i = 0; i < PAUSES_MAX; i++)
        if (pause_once(place))
            break;
    return 0;
}
#else
#define pause_at(place) \
    do {                \
    } while (0)
#endif

#endif
