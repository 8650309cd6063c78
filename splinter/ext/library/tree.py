"""A decision tree trained with scikit-learn, evaluated where it is stored.

The tree, in table ``TREES`` under its model's number, is what ``splinter.ext.library.forest_train.pack_tree`` makes: ``u32
nodes, u32 classes``, then the nodes, ``f64 threshold, u16 feature, u16 left, u16 right, u16 0`` each, then a row of f64 for
each leaf: the share of each class. A leaf has feature 65535, and its row's number in place of ``left``.
"""

from splinter.ext import Error, Store, View, extension, u64

TREES = 48

NO_MODEL = 1

TREE_BYTES = 8  # in front of the nodes
TREE_CLASSES = 4
NODE_BYTES = 16
NODE_FEATURE = 8
NODE_LEFT = 10
NODE_RIGHT = 12
LEAF = 65535


@extension
def tree(db: Store, model: u64, row: View) -> u64:
    """Which class a row of packed f32 belongs to, from 0; error 1 when there is no such model."""
    found = db.get(TREES, model)
    if found is None:
        raise Error(NO_MODEL)
    shares = leaf_of(found, row)
    best = 0
    for kind in range(1, found.u32(TREE_CLASSES)):
        if found.f64(shares + kind * 8) > found.f64(shares + best * 8):
            best = kind
    return best


def leaf_of(found: View, row: View) -> u64:
    """Place of the shares of the leaf that a row leads to."""
    node = TREE_BYTES
    while found.u16(node + NODE_FEATURE) != LEAF:
        is_left = row.f32(found.u16(node + NODE_FEATURE) * 4) <= found.f64(node)
        node = TREE_BYTES + NODE_BYTES * (found.u16(node + NODE_LEFT) if is_left else found.u16(node + NODE_RIGHT))
    leaf = found.u16(node + NODE_LEFT)
    return TREE_BYTES + NODE_BYTES * found.u32(0) + leaf * found.u32(TREE_CLASSES) * 8
