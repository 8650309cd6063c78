"""The pages name what exists, generated ones are fresh, examples are run, and lengths stay within their budgets."""

from __future__ import annotations

import importlib.util
import re
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest

from splinter.client import AsyncClient, AsyncPipeline, Client, Pipeline

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SITE = sorted(DOCS.rglob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("examples/*.md")), *SITE]
# Pages whose bash and python blocks run, and the test that runs them.
RUN = {
    "README.md": "tests/system/test_readme.py",
    "docs/start/tour.md": "tests/system/test_readme.py",
    "docs/start/extensions.md": "tests/unit/ext/test_docs.py",
    "docs/how-to/asyncio.md": "tests/system/client/test_asyncio.py",
    "docs/how-to/cache.md": "tests/system/client/test_cache.py",
    "docs/how-to/frameworks.md": "tests/system/examples/test_frameworks_page.py",
    "docs/how-to/pipelines.md": "tests/system/client/test_pipelines.py",
    "docs/how-to/redis.md": "tests/system/redis/test_guide.py",
    "docs/how-to/testing.md": "tests/system/testing/test_plugin.py",
    "docs/reference/extensions.md": "tests/unit/ext/test_docs.py",
    "docs/reference/library.md": "tests/system/ext_library/test_server.py",
    "docs/explanation/kernel-tier.md": "tests/unit/ext/kernel/test_worlds.py",
    "docs/reference/afxdp.md": "tests/system/net/test_docs.py",
}
TOPS = ("splinter", "bench", "tests", "scripts", "docs", "bpf", "vagrant", "examples", "contrib", ".ci")
READERS_FILES = {"FILE.py", "visits.py", "my_tao.py", "test_visits.py", "test_interleavings.py"}
FILES = {path.name for top in TOPS for path in (ROOT / top).rglob("*")} | READERS_FILES
LINES_MAX = {"README.md": 80, "docs/architecture.md": 150}
INTERNALS_LINES_MAX = 200
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, TOPS))})/[\w.,{{}}*/-]*[\w}}*/]")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """What links may name in a page: its headings, as GitHub and mkdocs make them; a second one of a name gets ``_1``."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)", FENCE.sub("", text), re.MULTILINE):
        slug = re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-")
        found.append(f"{slug}_{found.count(slug)}" if slug in found else slug)
    return set(found)


def alternatives(path: str) -> list[str]:
    """``a/{b,c}.py`` as ``a/b.py`` and ``a/c.py``."""
    parts = [part.split(",") for part in re.split(r"[{}]", path)]
    return ["".join(each) for each in product(*([",".join(part)] if i % 2 == 0 else part for i, part in enumerate(parts)))]


def exists(path: str) -> bool:
    return any(ROOT.glob(path.rstrip("/"))) if "*" in path else (ROOT / path).exists()


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_setting_without_a_meaning_is_refused(generator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    known = generator.comments
    monkeypatch.setattr(generator, "comments", lambda source: {**known(source), "metrics": ""})
    for make in (generator.configuration, generator.annotated_configuration):
        with pytest.raises(ValueError, match="metrics has no meaning"):
            make()


def test_generated_pages_are_fresh(generator: ModuleType) -> None:
    for name, make in generator.PAGES.items():
        assert (DOCS / "reference" / name).read_text() == make(), f"{name} is stale: run python docs/generate.py"


def test_the_page_of_the_python_interface_has_what_classes_inherit(generator: ModuleType) -> None:
    told = generator.python_api()
    for cls in (Client, AsyncClient, Pipeline, AsyncPipeline):
        for name in dir(cls):
            assert name.startswith("_") or f"### {cls.__name__}.{name}\n" in told, name


def test_every_control_operation_says_what_it_does(generator: ModuleType) -> None:
    lines = [line for line in generator.control().splitlines() if line.startswith("| `")]
    assert len(lines) == 26
    assert not [line for line in lines if line.endswith("|  |")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_paths_exist(page: Path) -> None:
    text = page.read_text()
    named = {path for found in PATH.findall(re.sub(r"\]\([^)]*\)", "]", text)) for path in alternatives(found)}
    assert not [path for path in sorted(named) if not exists(path.rstrip("."))]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_files_and_modules_exist(page: Path) -> None:
    for word in CODE.findall(FENCE.sub("", page.read_text())):
        if re.fullmatch(r"[\w/]+/[\w/]*\w+\.(py|c|h)", word) and not word.startswith(TOPS):
            raise AssertionError(f"{word}: name the whole path, from the top of the repository")
        if re.fullmatch(r"\w+\.(py|c|h)", word):
            assert Path(word).name in FILES, word
        if found := re.fullmatch(r"(tests/.*\.py)::(\w+)", word):
            assert f"def {found[2]}(" in (ROOT / found[1]).read_text(), word
        if re.fullmatch(r"splinter(\.[a-z_]\w*)+", word):
            parts = word.split(".")
            assert any(
                exists("/".join(parts[:n]) + end) for n in (len(parts), len(parts) - 1) for end in (".py", "/__init__.py")
            )


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "internals"], ids=name_of)
def test_names_of_the_code_are_in_the_code(page: Path) -> None:
    files = [
        path
        for top in ("splinter", "bpf", "scripts", "bench")
        for path in (ROOT / top).rglob("*")
        if path.suffix in ("", ".toml", ".py", ".c", ".h")
    ]
    words = {word.lstrip("_") for path in files if path.is_file() for word in re.findall(r"\w+", path.read_text())}
    text = FENCE.sub("", page.read_text())
    named = {part for code in CODE.findall(text) for part in re.findall(r"[A-Za-z]\w*_\w+|[A-Z]{4,}", code)}
    missing = named - words - {Path(path).stem for path in PATH.findall(text)}
    assert not missing


def test_examples_are_run_by_a_test() -> None:
    shown = {
        name_of(page)
        for page in [ROOT / "README.md", *SITE]
        if re.search(r"^```(bash|python)$", page.read_text(), re.MULTILINE)
    }
    assert shown == set(RUN)
    for page, test in RUN.items():
        words = (ROOT / test).read_text()
        assert Path(page).stem in words and Path(page).parent.name in words, (page, test)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lengths_stay_within_their_budgets(page: Path) -> None:
    most = INTERNALS_LINES_MAX if page.parent.name == "internals" else LINES_MAX.get(name_of(page))
    assert most is None or len(page.read_text().splitlines()) <= most


def test_navigation_names_every_page() -> None:
    named = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert named == {str(page.relative_to(DOCS)) for page in SITE}
