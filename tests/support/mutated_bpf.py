"""A plugin for pytest: programs are compiled from the folder that ``SPLINTER_MUTATED_BPF`` names."""

from __future__ import annotations

import os
from pathlib import Path

from splinter.net.bpf import clang

clang.BPF_FOLDER = Path(os.environ["SPLINTER_MUTATED_BPF"])
