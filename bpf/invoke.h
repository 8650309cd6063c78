/* An invoke of an extension that has a program in the kernel (extension.c): found by its record, and called by a tail call. */
#ifndef SPLINTER_INVOKE_H
#define SPLINTER_INVOKE_H

/* What a request says about the extension that it calls. */
struct call {
    __u32 is_invoke;
    __u32 ip_at; /* where the IP header begins in the frame */
    __u32 arguments_bytes;
    __u32 name_bytes;
    __u64 signature; /* 0: any */
};

static __always_inline int is_invoke(const struct splinter_header *header)
{
    return header->opcode == SPLINTER_OPCODE_INVOKE;
}

static __always_inline void call_begin(struct call *call, const struct splinter_header *header, __u32 ip_at)
{
    call->is_invoke = is_invoke(header);
    call->ip_at = ip_at;
    call->arguments_bytes = header->value_length;
    call->name_bytes = header->key_length;
    call->signature = header->object_version;
}

/* The word of a record that begins at a place in its slab. */
static __always_inline __u64 record_word(const struct walk *found, __u32 at)
{
    const struct block *block = block_before(found->slab, at + 8, SLAB_BYTES);

    return block ? block->words[BLOCK_WORDS - 1] : 0;
}

#define RECORD_FIELD(field) __builtin_offsetof(struct extension_record, field)

/*
 * Run the extension whose record was found, if the kernel has it: then this does not return. The epoch is the extension's to leave.
 * What its program is told stands in the CPU's scratch record.
 */
static __always_inline void call_extension(struct xdp_md *ctx, const struct walk *found, const struct call *call)
{
    __u32 zero = 0, at = found->at + sizeof(struct object) + call->name_bytes;
    __u64 identity = record_word(found, at + RECORD_FIELD(kernel));
    __u32 least = record_word(found, at + RECORD_FIELD(arguments_bytes_min));
    __u32 slot = record_word(found, at + RECORD_FIELD(statistics));
    struct extension_scratch *scratch = bpf_map_lookup_elem(&extension_scratch, &zero);

    if (!scratch || !identity || call->arguments_bytes < least || slot >= EXTENSIONS_MAX ||
        (call->signature && call->signature != record_word(found, at + RECORD_FIELD(signature_hash))))
        return;
    scratch->identity = identity;
    scratch->slot = slot;
    scratch->ip_at = call->ip_at;
    bpf_tail_call(ctx, &kernel_extensions, slot);
}

#endif
