"""From scikit-learn's trees to the objects that the entries ``tree`` and ``forest`` read.

Packing needs NumPy only; ``train`` needs scikit-learn, which comes with the extra ``test``.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from splinter.limits import VALUE_BYTES_MAX

LEAF = 65535
NODE = np.dtype([("threshold", "<f8"), ("feature", "<u2"), ("left", "<u2"), ("right", "<u2"), ("unused", "<u2")])
_HEADER = struct.Struct("<II")
_FOREST_KEY = struct.Struct("<QQ")


def pack_tree(model: Any) -> bytes:
    """A fitted ``DecisionTreeClassifier`` (one output, no missing values) as the value of one object.

    Raises ``ValueError`` when it has several outputs or does not fit one object (about 1,170 nodes with 10 classes).
    """
    tree = model.tree_
    if tree.n_outputs != 1:
        raise ValueError("only trees with one output can be packed")
    is_leaf = tree.children_left < 0
    shares = np.ascontiguousarray(tree.value[is_leaf, 0, :], dtype="<f8")
    if tree.node_count >= LEAF or _HEADER.size + tree.node_count * NODE.itemsize + shares.nbytes > VALUE_BYTES_MAX:
        raise ValueError(f"a tree of {tree.node_count} nodes does not fit one object: limit max_leaf_nodes")
    nodes = np.zeros(tree.node_count, NODE)
    nodes["threshold"] = np.where(is_leaf, 0.0, tree.threshold)
    nodes["feature"] = np.where(is_leaf, LEAF, tree.feature)
    nodes["left"] = np.where(is_leaf, np.cumsum(is_leaf) - 1, tree.children_left)
    nodes["right"] = np.where(is_leaf, 0, tree.children_right)
    return _HEADER.pack(tree.node_count, shares.shape[1]) + nodes.tobytes() + shares.tobytes()


def pack_forest(model: Any, number: int) -> list[tuple[bytes, bytes]]:
    """A fitted ``RandomForestClassifier`` as (key, value) of all its objects; ``number`` is what ``forest`` calls it."""
    trees = [(_FOREST_KEY.pack(number, i), pack_tree(tree)) for i, tree in enumerate(model.estimators_)]
    head = _HEADER.pack(len(trees), len(model.classes_))
    return [(number.to_bytes(8, "little"), head), *trees]


def pack_row(row: np.ndarray) -> bytes:
    """One row of features as packed f32, which is what scikit-learn compares as well."""
    return np.asarray(row, dtype="<f4").tobytes()


def train(table: str = "digits", trees: int = 20) -> tuple[Any, Any, np.ndarray]:
    """A decision tree and a random forest for a table that scikit-learn ships, ``digits`` or ``breast_cancer``, and its rows.

    The rows are features, (rows, features); ``model.predict(rows)`` is what the extensions must equal.
    """
    from sklearn import datasets  # type: ignore[import-untyped, unused-ignore]
    from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped, unused-ignore]
    from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped, unused-ignore]

    rows, labels = getattr(datasets, f"load_{table}")(return_X_y=True)
    tree = DecisionTreeClassifier(random_state=0).fit(rows, labels)
    forest = RandomForestClassifier(n_estimators=trees, random_state=0).fit(rows, labels)
    return tree, forest, rows
