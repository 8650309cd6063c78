/*
 * What the programs use of the kernel's interface (linux/bpf.h), so that no kernel's headers need be installed: integer types,
 * an XDP program's context and answers, helper functions by number, and maps, which the loader makes and knows by name.
 */
#ifndef SPLINTER_KERNEL_H
#define SPLINTER_KERNEL_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef signed short __s16;
typedef unsigned short __u16;
typedef signed int __s32;
typedef unsigned int __u32;
typedef signed long long __s64;
typedef unsigned long long __u64;

typedef __u16 __be16, __sum16; /* network byte order */
typedef __u32 __be32;

#define NULL ((void *)0)
#define __always_inline inline __attribute__((always_inline))

struct xdp_md {
    __u32 data;
    __u32 data_end;
    __u32 data_meta;
    __u32 ingress_ifindex;
    __u32 rx_queue_index;
    __u32 egress_ifindex;
};

enum xdp_action { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };

/* A map: `extern struct map name;`. It has a size because BTF wants one of every variable. */
struct map {
    __u32 opaque;
};

static void *(*const bpf_map_lookup_elem)(struct map *map, const void *key) = (void *)1;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static long (*const bpf_xdp_adjust_head)(struct xdp_md *ctx, int bytes) = (void *)44;
static long (*const bpf_redirect_map)(struct map *map, __u64 key, __u64 flags) = (void *)51;

static long (*const bpf_tail_call)(struct xdp_md *ctx, struct map *map, __u32 index) = (void *)12;
static long (*const bpf_xdp_load_bytes)(struct xdp_md *ctx, __u32 at, void *to, __u32 bytes) = (void *)189;
static __u64 (*const bpf_jiffies64)(void) = (void *)118;

/* A number that fits `mask`, which the verifier is to know and the compiler is not: it would prove the mask idle and leave it out. */
static __always_inline __u64 bounded(__u64 number, const int mask)
{
    asm volatile("%0 &= %1" : "+r"(number) : "i"(mask));
    return number;
}

/* The compiler knows nothing of a number or pointer any more. */
#define hide(value) asm volatile("" : "+r"(value))

/* The lower half of a word, by one instruction: of a mask the compiler makes two shifts. */
static __always_inline __u64 low_half(__u64 word)
{
    __u32 half;

    asm("%0 = %1" : "=w"(half) : "w"((__u32)word));
    return half;
}

#define bpf_htons(value) __builtin_bswap16(value)
#define bpf_ntohs(value) __builtin_bswap16(value)
#define bpf_ntohl(value) __builtin_bswap32(value)

#endif
