"""The headers in bpf/ say the same as the Python definitions that they are generated from."""

import runpy
from pathlib import Path

import pytest

from splinter import limits
from splinter.net import tenants
from splinter.net.xdp import DROPS, Verdict
from splinter.net.xdp.compile import BPF_FOLDER, read_source

HEADERS = runpy.run_path(str(Path(__file__).parents[3] / "scripts/headers.py"))["HEADERS"]


@pytest.mark.parametrize("name", HEADERS)
def test_generated_header_is_up_to_date(name: str) -> None:
    assert (BPF_FOLDER / name).read_text() == HEADERS[name](), "run: python scripts/headers.py"


def test_tenant_record_is_aligned_as_c_aligns_it() -> None:
    for name in tenants.TENANT.names or ():
        kind, at = (tenants.TENANT.fields or {})[name][:2]
        assert at % kind.base.itemsize == 0, name
    assert tenants.tenants_bytes() == limits.TENANTS_MAX * 64


def test_verdicts_count_up_without_gaps() -> None:
    assert [verdict.value for verdict in Verdict] == list(range(len(Verdict)))
    assert Verdict.STEERED not in DROPS and Verdict.NO_SOCKET in DROPS


def test_own_includes_are_pasted_with_their_places() -> None:
    text = read_source("splinter.c")
    assert '#include "' not in text
    assert "struct splinter_header {" in text
    lines = text.splitlines()
    # The marker behind a pasted file numbers the line that follows the #include in the original.
    marker = max(n for n, line in enumerate(lines) if line.startswith("#line") and line.endswith('"splinter.c"'))
    number = int(lines[marker].split()[1])
    assert (BPF_FOLDER / "splinter.c").read_text().splitlines()[number - 1] == lines[marker + 1]
