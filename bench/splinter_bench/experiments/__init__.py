"""The paper's four experiments, and the flood: each a command of ``splinter bench``, described in docs/experiments.md."""
