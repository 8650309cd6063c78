"""What do two words have in common? The most special synset that is above both, in one request."""

from splinter.ext import Store, extension, u64


@extension
def lowest_common_ancestor(db: Store, first: u64, second: u64) -> u64:
    """The deepest synset on both paths to the root, or 0 when there is none."""
    # How long is each path?
    first_length = 0
    synset = first
    while synset != 0:
        node = db.get(table=1, key=synset)
        if node is None:
            return 0
        synset = node.u64(0)
        first_length += 1
    second_length = 0
    synset = second
    while synset != 0:
        node = db.get(table=1, key=synset)
        if node is None:
            return 0
        synset = node.u64(0)
        second_length += 1

    # Shorten the longer one to the other's length; from there both meet after the same number of steps.
    while first_length > second_length:
        node = db.get(table=1, key=first)
        if node is None:
            return 0
        first = node.u64(0)
        first_length -= 1
    while second_length > first_length:
        node = db.get(table=1, key=second)
        if node is None:
            return 0
        second = node.u64(0)
        second_length -= 1
    while first != second:
        above_first = db.get(table=1, key=first)
        above_second = db.get(table=1, key=second)
        if above_first is None or above_second is None:
            return 0
        first = above_first.u64(0)
        second = above_second.u64(0)
    return first
