"""Twenty lines of an everyday extension, to time the compiler with."""

from splinter.ext import Store, extension, u64


@extension
def common_ancestor(db: Store, table: u64, left: u64, right: u64, steps: u64) -> u64:
    """The first node that both paths to the root share, or 0."""
    for _ in range(steps):
        if left == right:
            return left
        above_left = db.get(table, left)
        above_right = db.get(table, right)
        if above_left is None or above_right is None:
            return 0
        if len(above_left) < 16 or len(above_right) < 16:
            return 0
        if above_left.u64(8) >= above_right.u64(8):
            left = above_left.u64(0)
        else:
            right = above_right.u64(0)
    return 0
