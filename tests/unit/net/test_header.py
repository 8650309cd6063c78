"""The headers in bpf/ say the same as the Python definitions that they are generated from."""

import runpy
from pathlib import Path

import pytest

from splinter import limits
from splinter.net import tenants
from splinter.net.bpf.clang import BPF_FOLDER
from splinter.net.xdp import DROPS, Verdict

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
