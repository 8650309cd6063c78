"""A random forest trained with scikit-learn, evaluated where it is stored.

The model, in table ``FORESTS`` under its number, is ``u32 trees, u32 classes``; its trees are in the same table under (u64
model, u64 number), as the entry ``tree`` describes them. ``splinter.ext.library.forest_train.pack_forest`` makes them.
"""

from splinter.ext import Error, Store, View, array, buffer, extension, f64, u64

FORESTS = 49
CLASSES_MAX = 64

NO_MODEL = 1
TOO_MANY_CLASSES = 2

FOREST_CLASSES = 4
TREE_BYTES = 8  # in front of the nodes
TREE_CLASSES = 4
NODE_BYTES = 16
NODE_FEATURE = 8
NODE_LEFT = 10
NODE_RIGHT = 12
LEAF = 65535


@extension
def forest(db: Store, model: u64, row: View) -> u64:
    """Which class a row of packed f32 belongs to, from 0; error 1 when a part of the model is missing.

    The class with the largest mean share over the trees, added up in scikit-learn's order, so that ties fall the same way.
    """
    found = db.get(FORESTS, model)
    if found is None:
        raise Error(NO_MODEL)
    trees = found.u32(0)
    classes = found.u32(FOREST_CLASSES)
    if classes > CLASSES_MAX:
        raise Error(TOO_MANY_CLASSES)
    sums = array(f64, CLASSES_MAX)
    key = buffer(16)
    key.append_u64(model)
    key.append_u64(0)
    for number in range(trees):
        key.set_u64(8, number)
        tree = db.get(FORESTS, key)
        if tree is None:
            raise Error(NO_MODEL)
        shares = leaf_of(tree, row)
        for kind in range(classes):
            sums[kind] += tree.f64(shares + kind * 8)
    best = 0
    for kind in range(1, classes):
        if sums[kind] / f64(trees) > sums[best] / f64(trees):
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
