"""What compiled code needs of the machine: typed access to memory, atomics, calls into the C library."""

from splinter.native import cache, compiling, parts, registries

cache.configure()
compiling.configure()
parts.configure()
registries.configure()
