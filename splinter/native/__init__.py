"""What compiled code needs of the machine: typed access to memory, atomics, calls into the C library."""

from splinter.native import blas, cache, compiling, parts

cache.configure()
compiling.configure()
parts.configure()
blas.put_off()
