"""The store in shared memory."""

import splinter.native  # noqa: F401  (names the folder of compiled code before the first function is decorated)
