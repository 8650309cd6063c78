"""How general is a word? The way from a synset up to the root of WordNet, in one request."""

from splinter.ext import Store, extension, u64


@extension
def path_to_root(db: Store, synset: u64) -> u64:
    """Number of synsets on the path from this one up to its root, both included; 0 when there is no such synset."""
    synsets = 0
    while synset != 0:
        node = db.get(table=1, key=synset)
        if node is None:
            return synsets
        synset = node.u64(0)  # the parent; 0 above the root
        synsets += 1
    return synsets
