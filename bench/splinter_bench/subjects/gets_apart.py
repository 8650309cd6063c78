"""Gets of a worker in a process of its own, as this program has it, or with some of its functions emptied.

What a part of a get costs is told beside a worker that does not have it. That one is compiled from a copy of the sources in
which the part's functions do nothing: so there is no switch for it in the worker itself. Its code is cached as any.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from splinter.errors import SplinterError
from splinter_bench.owner import Owner

_PACKAGES = ("splinter", "splinter_bench")
_HOUR_NS = 3600 * 10**9
_TENANT = 1


class GetsApart(Owner):
    """A worker with a store of ``keys`` objects, which expire in an hour (``expiring``) or not at all.

    ``without``: names of functions by their module (a path below the package's folder); they return False and do nothing else.
    Raises :class:`SplinterError` when the process does not start.
    """

    def __init__(self, keys: int, *, expiring: bool, without: Mapping[str, Sequence[str]] | None = None) -> None:
        command = [sys.executable, "-P", "-m", __spec__.name, str(keys), str(int(expiring))]
        with self._opening() as opened:
            environment = dict(os.environ)
            if without:
                environment["PYTHONPATH"] = str(opened.enter_context(copied_sources(without)))
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
            self.process = opened.enter_context(process)  # its end closes the pipes, and the process ends by that
            self._ask()

    def serve(self, requests: int) -> float:
        """Nanoseconds of the worker's loop for each of so many gets, in whole batches. Raises :class:`SplinterError`."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer tells
            self.process.stdin.write(f"{requests}\n")
            self.process.stdin.flush()
        return self._ask()

    def _ask(self) -> float:
        assert self.process.stdout is not None
        told = self.process.stdout.readline()
        if not told:
            raise SplinterError("a process with a worker has ended")
        return float(told)


@contextlib.contextmanager
def copied_sources(without: Mapping[str, Sequence[str]]) -> Generator[Path]:
    """A folder with a copy of the packages, for PYTHONPATH, in which functions are emptied as :class:`GetsApart` says."""
    with tempfile.TemporaryDirectory(prefix="splinter-bench-") as name:
        folder = Path(name)
        for package in _PACKAGES:
            spec = importlib.util.find_spec(package)
            assert spec is not None and spec.origin is not None
            shutil.copytree(Path(spec.origin).parent, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        for module, functions in without.items():
            path = folder / module
            path.write_text(_emptied(path.read_text(encoding="utf-8"), functions), encoding="utf-8")
        yield folder


def _emptied(text: str, names: Sequence[str]) -> str:
    tree = ast.parse(text)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name in names:
        if name not in functions:
            raise SplinterError(f"there is no function {name} to be emptied")
        functions[name].body = [ast.Return(ast.Constant(value=False))]
    return ast.unparse(ast.fix_missing_locations(tree))


def _serve(keys: int, *, expiring: bool) -> None:
    """What the process does: a number when it is ready; then, for each line with one, as many gets and what they took."""
    from splinter_bench.subjects.in_worker import WorkerInProcess  # of this process, whose sources may be the copy
    from splinter_bench.workloads.workload import each_once, get_operation, put_operation, uniform

    with WorkerInProcess() as worker:
        account = worker.add_tenant(_TENANT)
        worker.serve(each_once(put_operation(account), keys), keys)
        if expiring:
            for stored in list(worker.store.scan(account.table, tenant=_TENANT)):
                worker.store.expire(_TENANT, account.table, stored.key, _HOUR_NS, participant=0)
        gets = uniform(get_operation(account), keys)
        print(0, flush=True)
        for line in sys.stdin:
            print(worker.serve(gets, int(line)), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):  # a terminal's Ctrl-C is for whoever asks; that one says so
        _serve(int(sys.argv[1]), expiring=sys.argv[2] == "1")
