"""The demonstration: a server in a lab, the whole of WordNet in it, the same questions asked by gets and by invokes."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from splinter_bench.result import Result
from splinter_bench.workloads.wordnet import TABLE_SYNSETS, TABLE_WORDS, Synset, WordNet, load_wordnet

from examples.wordnet import compiled, extensions
from examples.wordnet.questions import Question, make_questions
from examples.wordnet.report import Reporter, results_table
from examples.wordnet.server import lab_for, server_for
from splinter.client import Client
from splinter.client.admin import Admin, TenantInfo
from splinter.errors import SplinterError
from splinter.interrupts import interruptible
from splinter.limits import PORT_DEFAULT
from splinter.net.lab import Lab
from splinter.server import instance as instances
from splinter.server.instance import InstanceInfo

EXTENSIONS = ("path_to_root", "lowest_common_ancestor")
_PROGRESS_STEP = 1000  # objects
_LOAD_WINDOW = 64  # puts on their way at once
_COMPILED_SECONDS = 1.0  # each measurement with a compiled client
_SERVER_CHECK_SECONDS = 0.5
NEXT_COMMANDS = (
    ("scripts/run --serve", "the same server and data, for commands of your own"),
    (".venv/bin/splinter check examples/wordnet/extensions/path_to_root.py", "what the compiler says of an extension"),
    (".venv/bin/splinter bench --lab", "get and put beside the AF_XDP echo, by a compiled load generator"),
)

app = typer.Typer(add_completion=False)


@dataclass
class Demonstration:
    """A running server with its data, and who talks to it."""

    reporter: Reporter
    info: InstanceInfo
    tenant: TenantInfo
    client: Client
    wordnet: WordNet


@app.command()
def run(
    serve: Annotated[bool, typer.Option("--serve", help="Leave server and data running until Ctrl-C.")] = False,
    instance: Annotated[str, typer.Option(help="Name of the server's instance and of its lab.")] = "demo",
    transport: Annotated[str, typer.Option(help="auto, xdp or udp.")] = "auto",
    port: Annotated[int, typer.Option(help="The server's port.")] = PORT_DEFAULT,
    tenants: Annotated[int, typer.Option(min=0, help="How many more tenants to create.")] = 1000,
    questions: Annotated[int, typer.Option(min=1, help="How often each question is asked.")] = 500,
) -> None:
    """Show what Splinter does, on real data: WordNet, 1,001 tenants, two extensions, the same questions asked twice."""
    reporter = Reporter(Console())
    with demonstration(reporter, instance, transport, port, tenants) as demo:
        if serve:
            _serve(demo)
        else:
            different = _compare(demo, questions)
            if different:
                raise SplinterError(f"{different} answers differ")


@contextlib.contextmanager
def demonstration(reporter: Reporter, instance: str, transport: str, port: int, tenants: int) -> Iterator[Demonstration]:
    """Bring everything up: lab, server, data, tenants, extensions; and down again."""
    with contextlib.ExitStack() as stack:
        stack.callback(reporter.note, "Server and lab are gone again")  # the last thing to be done
        with reporter.step("Reading WordNet") as details:
            wordnet = load_wordnet()
            details.append(f"{len(wordnet.synsets):,} synsets, {len(wordnet.words):,} words")
        with reporter.step("Bringing up the lab") as details:
            lab = stack.enter_context(lab_for(instance, transport))
            details.append(_lab_text(lab))
        with reporter.step("Starting the server (the first time, everything is compiled)") as details:
            info = stack.enter_context(server_for(instance, port, lab))
            details.append(f"{info.transport} transport on {len(info.cores)} cores; {info.transport_reason}")
        admin = Admin(info.address, instances.credential(instance), port=info.port, netns=info.client_netns)
        stack.enter_context(admin)
        tenant = admin.create_tenant()
        client = stack.enter_context(_client(info, tenant))
        _load(reporter, client, wordnet)
        _create_tenants(reporter, admin, info, tenants)
        _install(reporter, client)
        yield Demonstration(reporter, info, tenant, client, wordnet)


def _lab_text(lab: Lab | None) -> str:
    if lab is None:
        return "none; the server listens on the loopback interface"
    return f"namespaces {lab.server.namespace} and {lab.client.namespace}, joined by a veth pair"


def _client(info: InstanceInfo, tenant: TenantInfo) -> Client:
    return Client(info.address, tenant.tenant, tenant.token, port=info.port, netns=info.client_netns)


def _load(reporter: Reporter, client: Client, wordnet: WordNet) -> None:
    tables: dict[int, list[tuple[bytes, bytes]]] = {TABLE_SYNSETS: [], TABLE_WORDS: []}
    for table, key, value in wordnet.objects():
        tables[table].append((key, value))
    total = sum(len(pairs) for pairs in tables.values())
    with reporter.counted_step(f"Loading {total:,} objects into one tenant", total) as advance:

        def counted(pairs: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
            for number, pair in enumerate(pairs):
                if number % _PROGRESS_STEP == 0:
                    advance(min(_PROGRESS_STEP, len(pairs) - number))
                yield pair

        for table, pairs in tables.items():
            client.put_many(counted(pairs), table=table, window=_LOAD_WINDOW)


def _create_tenants(reporter: Reporter, admin: Admin, info: InstanceInfo, count: int) -> None:
    if count == 0:
        return
    with reporter.step(f"Creating {count:,} more tenants") as details:
        stranger = admin.create_tenants(count)[-1]
        with _client(info, stranger) as other:
            seen = other.get(b"dog", table=TABLE_WORDS)
        if seen is not None:
            raise SplinterError(f"tenant {stranger.tenant} can read another's objects")
        details.append(f"tenant {stranger.tenant} asks for the first one's 'dog' and finds nothing")


def _install(reporter: Reporter, client: Client) -> None:
    with reporter.step("Installing two extensions") as details:
        for name in EXTENSIONS:
            source = resources.files(extensions).joinpath(f"{name}.py").read_text()
            installed = client.install(source)
            details.append(f"{installed.signature} ({installed.code_bytes:,} bytes of machine code)")


def _compare(demo: Demonstration, count: int) -> int:
    """Ask, print the results; returns how many answers differ."""
    questions = make_questions(demo.client, demo.wordnet, count)
    for question in questions:
        with demo.reporter.counted_step(f"Asking for the {question.title}, {count:,} times each way", count) as advance:
            for _ in question.ask_all():
                advance(1)
    measured = _measure_compiled(demo)
    demo.reporter.console.print()
    demo.reporter.console.print(results_table(questions, measured))
    demo.reporter.console.print(_summary(questions), highlight=False)
    demo.reporter.console.print(_common(demo, "dog", "cat"), highlight=False)
    _print_next(demo.reporter.console)
    return _different(questions)


def _measure_compiled(demo: Demonstration) -> list[tuple[str, Result]]:
    if demo.info.transport != "xdp":
        return []  # there is no AF_XDP path that an echo could measure
    with demo.reporter.step("Measuring the AF_XDP echo, and the server with a compiled client"):
        dog = demo.wordnet.lookup("dog")[0]
        return compiled.measure(demo.info, demo.tenant, demo.client, dog, _COMPILED_SECONDS)


def _summary(questions: list[Question]) -> str:
    asked = sum(len(question.arguments) for question in questions)
    ratios = [question.gets.percentile_ns(50) / question.invoke.percentile_ns(50) for question in questions]
    return (
        f"{asked:,} questions, each asked by a chain of gets, by one invoke, and of the data in memory: the answers are "
        f"{'equal' if not _different(questions) else 'NOT equal'}. One invoke is {' and '.join(f'{r:.1f}' for r in ratios)} "
        "times as fast at the median as the gets that it saves."
    )


def _different(questions: list[Question]) -> int:
    return sum(question.different for question in questions)


def _common(demo: Demonstration, first: str, second: str) -> str:
    ids = [demo.wordnet.lookup(word)[0] for word in (first, second)]
    found = demo.client.invoke("lowest_common_ancestor", *ids)
    value = demo.client.get(found, table=TABLE_SYNSETS)
    if value is None:
        raise SplinterError(f"synset {found} is not stored")
    return f"What do {first} and {second} have in common? Asked of the store: {Synset.unpack(found, value).words[0]}."


def _print_next(console: Console) -> None:
    console.print("\n[bold]Try next[/]")
    for command, purpose in NEXT_COMMANDS:
        console.print(f"  {command}  [dim]# {purpose}[/]", highlight=False, soft_wrap=True)


def _serve(demo: Demonstration) -> None:
    console, tenant = demo.reporter.console, demo.tenant.tenant
    dog, cat = demo.wordnet.lookup("dog")[0], demo.wordnet.lookup("cat")[0]
    console.print(f"\nTenant {tenant} holds WordNet. In another terminal, in this folder:\n", highlight=False)
    for command in (
        f"export SPLINTER_INSTANCE={demo.info.instance}",
        f".venv/bin/splinter invoke --tenant {tenant} lowest_common_ancestor {dog} {cat}",
        f".venv/bin/splinter extensions --tenant {tenant}",
        ".venv/bin/splinter top",
    ):
        console.print(f"  {command}", highlight=False, soft_wrap=True)
    console.print("\nCtrl-C here stops the server and removes the lab.", highlight=False)
    while True:
        instances.read(demo.info.instance)  # raises when the server has gone
        time.sleep(_SERVER_CHECK_SECONDS)


def main() -> NoReturn:
    """The command; ends with status 0 when all answers were equal."""
    try:
        with interruptible():
            app()
    except SplinterError as error:
        text = "\n".join([str(error), *getattr(error, "__notes__", ())])
        Console(stderr=True).print(f"[red]error:[/] {escape(text)}", highlight=False)
    sys.exit(1)
