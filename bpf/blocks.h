/*
 * Stretches of bytes (a key, a value, the body of a packet) are read from their end, in blocks of four words. In front of each
 * lies a header that is as long as a block at least. So its first block, of which only the last bytes are the stretch's, is read
 * whole, and no byte is read by itself.
 */
#ifndef SPLINTER_BLOCKS_H
#define SPLINTER_BLOCKS_H

#define BLOCK_WORDS (BLOCK_BYTES / 8)

struct block {
    __u64 words[BLOCK_WORDS];
};

/* The block that ends at a place in memory of so many bytes; NULL: it does not lie in it, which cannot be. */
static __always_inline const struct block *block_before(const __u8 *memory, __u64 end, __u32 bytes)
{
    hide(end);
    if (end < BLOCK_BYTES || end > bytes)
        return NULL;
    return (const struct block *)(memory + end - BLOCK_BYTES);
}

/* The first 1 to 8 bytes of a stretch, as a number, of the word that ends with them. */
static __always_inline __u64 first_of(__u64 word, __u64 bytes)
{
    return word >> (64 - 8 * bytes);
}

#endif
