"""How the sources are arranged: sizes, circles of imports, layers. What was too large stands in lists that may only shrink."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.support.imports import ROOT, circles, imports, sources

FILE_LINES_MAX, FUNCTION_LINES_MAX = 400, 70

# Each imports from those above it and from itself. Those of one line do not import each other.
LAYERS = (
    ("limits", "visible", "trust", "interrupts", "recent"),
    ("errors", "layout"),
    ("wire", "terminal", "extras"),
    ("native",),
    ("store", "net", "ext"),
    ("client", "worker"),
    ("durable",),
    ("server",),
    ("cli",),
    ("testing", "__main__"),
)
# The laboratory's folders: each imports from those before it. Modules above the folders stand where their own imports put them.
LABORATORY = ("workloads", "generators", "subjects", "experiments", "report")
# 'splinter' itself hands on the client's names when they are asked for, and has the version.
FACADE = "splinter"
TO_LABORATORY = {"splinter.cli.main"}  # that may import it, where it is installed

# Files and functions that are too long, with the lines they have: they may become shorter only. Take out what no longer is.
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS = {
    "splinter.ext.library.tao.change": 102,
    "splinter_bench.experiments.simulation._run": 104,
    "splinter_bench.run_commands.run": 92,
}
CIRCLES = []


def ours() -> dict[str, str]:
    """The text of each module of the product and the laboratory."""
    return {name: file.read_text(encoding="utf-8") for name, file in sources().items() if not name.startswith("tests")}


def functions(module: str, text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of each function."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module}.{node.name}", (node.end_lineno or 0) - node.lineno + 1


def judge(sizes: dict[str, int], most: int, allowed: dict[str, int]) -> list[str]:
    """What is wrong with these sizes, and with the list of those that are allowed to be larger."""
    return [
        *(f"{name} has {size} lines" for name, size in sizes.items() if size > allowed.get(name, most)),
        *(f"{name} is short enough now: take it out of the list" for name in allowed if sizes.get(name, 0) <= most),
    ]


def layer(module: str) -> int:
    part = module.split(".")[1]
    return next(place for place, parts in enumerate(LAYERS) if part in parts)


def climbs(module: str, imported: str) -> bool:
    """Whether an import runs upward, or aside."""
    if imported == FACADE or module == FACADE:
        return False
    if imported.startswith("splinter_bench"):
        return not any(module == name or module.startswith(f"{name}.") for name in TO_LABORATORY)
    same_part = module.split(".")[1] == imported.split(".")[1]
    return not same_part and layer(imported) >= layer(module)


def test_no_file_is_too_long() -> None:
    sizes = {str(sources()[name].relative_to(ROOT)): len(text.splitlines()) for name, text in ours().items()}
    assert judge(sizes, FILE_LINES_MAX, LONG_FILES) == []


def test_no_function_is_too_long() -> None:
    sizes = {name: size for module, text in ours().items() for name, size in functions(module, text)}
    assert judge(sizes, FUNCTION_LINES_MAX, LONG_FUNCTIONS) == []


def test_imports_make_no_circles() -> None:
    assert [circle for circle in circles() if circle not in CIRCLES] == []
    assert [circle for circle in CIRCLES if circle not in circles()] == []


def test_no_import_runs_upward() -> None:
    modules = [name for name in ours() if name.partition(".")[0] == "splinter"]
    assert [(name, other) for name in modules for other in imports(name) if climbs(name, other)] == []


def laboratory_level(module: str) -> int:
    """The place of a laboratory's module: its folder's, or that of the last folder that it imports from; -1: of none."""
    part = module.split(".")[1]
    if part in LABORATORY:
        return LABORATORY.index(part)
    folders = [other.split(".")[1] for other in imports(module) if other.startswith("splinter_bench.")]
    return max((LABORATORY.index(folder) for folder in folders if folder in LABORATORY), default=-1)


def test_no_folder_of_the_laboratory_imports_from_one_behind_it() -> None:
    modules = [name for name in ours() if name.startswith("splinter_bench.") and name.split(".")[1] in LABORATORY]
    assert {name.split(".")[1] for name in modules} == set(LABORATORY)
    edges = [(name, other) for name in modules for other in imports(name) if other.startswith("splinter_bench.")]
    assert [edge for edge in edges if laboratory_level(edge[1]) > laboratory_level(edge[0])] == []


def test_nobody_waits_by_what_knows_the_first_1024_descriptors_only() -> None:
    """``select`` raises for descriptors behind FD_SETSIZE, and a process with many clients, maps or files has those."""
    folders = ("splinter", "bench", "tests", "examples", "scripts", "docs")
    places = [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    texts = [path for path in places if path.suffix in (".py", ".md", "") and path.is_file()]
    call = "select." + "select("
    assert len(texts) > 500
    assert [str(path.relative_to(ROOT)) for path in texts if call in path.read_text(errors="replace")] == []


def test_every_part_has_its_layer() -> None:
    parts = {name.split(".")[1] for name in ours() if name.startswith("splinter.")}
    assert parts == {part for parts in LAYERS for part in parts}


def test_the_judges_see_what_is_wrong() -> None:
    assert judge({"a": 401, "b": 500, "c": 400}, 400, {"b": 500}) == ["a has 401 lines"]
    assert judge({"a": 501}, 400, {"a": 500}) == ["a has 501 lines"]
    assert judge({"a": 399}, 400, {"a": 500}) == ["a is short enough now: take it out of the list"]
    assert climbs("splinter.store.store", "splinter.worker.memory")
    assert climbs("splinter.store.store", "splinter.net.device")
    assert climbs("splinter.server.config", "splinter_bench.generators.path")
    assert not climbs("splinter.worker.memory", "splinter.store.store")
