"""Every setting, with what it may not be: each is refused by a sentence that names it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from splinter import limits
from splinter.errors import ServerError
from splinter.server.config import ServerConfig, parse_address, parse_bytes, parse_cores

TEXTS = (
    "data",
    "durability",
    "instance",
    "transport",
    "device",
    "address",
    "netns",
    "client_netns",
    "partial_checksums",
    "kernel_tier",
    "log_format",
    "log_level",
    "metrics",
)
NUMBERS = (
    "port", "memory_bytes", "tasks_per_worker", "tasks_per_tenant", "task_budget", "task_yields_max", "task_milliseconds_max",
    "task_wall_milliseconds_max", "idle_spin_ns", "steer_away", "watchdog_ms", "quarantine_after", "device_wait",
    "code_bytes_per_tenant", "metrics_most", "redis_port",
)  # fmt: skip
FLAGS = ("steal", "locality", "balance", "preempt", "keep_store", "fresh", "audit", "salvage")
OF_OTHER_TYPES = {
    TEXTS: ["5", "1.5", "true", "[]", "{}", "1979-05-27", "nan"],
    NUMBERS: ["1.5", "1e6", "inf", "nan", "true", "'5'", "[5]", "{}", "1979-05-27"],
    FLAGS: ["0", "1", "1.5", "'yes'", "[]", "{}"],
    ("memory",): [
        "1.5",
        "true",
        "[]",
        "{}",
        "nan",
        "''",
        "'lots'",
        "'1.5GiB'",
        "'1 TiB'",
        "'-1MiB'",
        "'9999999999999999999999'",
        "'1GiB 2'",
        "'٣GiB'",
        "1979-05-27",
    ],
    ("log_cores",): ["5", "true", "['0']", "[true]", "{}", "''", "'0,'", "'1-0'", "[-1]", "[0, 0]", "[65000]", "[0]"],
    ("cores",): [
        "5",
        "true",
        "['0']",
        "[0.0]",
        "[true]",
        "{}",
        "''",
        "'0,'",
        "'1-0'",
        "'x'",
        "'0-99999999999999'",
        "'-1'",
        "[-1]",
        "[]",
        "[0, 0]",
        "'0,0'",
        "[65000]",
        "[100000000000000000000]",
    ],
}
OUT_OF_RANGE = {
    ("port", "watchdog_ms", "tasks_per_worker", "steer_away", "memory_bytes", "memory"): ["-1", "100000000000000000000"],
    (
        "watchdog_ms",
        "tasks_per_worker",
        "tasks_per_tenant",
        "task_budget",
        "task_yields_max",
        "task_milliseconds_max",
        "task_wall_milliseconds_max",
        "idle_spin_ns",
        "quarantine_after",
        "memory_bytes",
        "memory",
    ): ["0"],
    (
        "tasks_per_tenant",
        "task_budget",
        "task_yields_max",
        "task_milliseconds_max",
        "task_wall_milliseconds_max",
        "idle_spin_ns",
        "quarantine_after",
    ): [
        "-1",
        str(1 << 63),
        str(1 << 64),
    ],
    ("port", "redis_port"): ["-1", "65536"],
    ("memory",): ["'1MiB'", "'100GiB'", "'99999999999999999999GiB'", str(limits.STORE_BYTES_MIN - 1)],
    ("address",): [
        "''",
        "'localhost'",
        "'::1'",
        "'[::1]'",
        "'fe80::1%eth0'",
        "'1.2.3'",
        "'1.2.3.4:5'",
        "'256.0.0.1'",
        "'01.2.3.4'",
        "' 1.2.3.4'",
        "'a.example'",
        "'" + "a" * 300 + "'",
        "'\\u0000'",
        "'\\ud7ff'",
    ],
    ("device",): ["''", "'a/b'", "'a b'", "'" + "x" * 16 + "'", "'..'", "'a:1'", "'a\\n'"],
    ("netns", "client_netns"): ["''", "'../x'", "'/'", "'.'", "'" + "x" * 256 + "'", "'\\u0000'"],
    ("instance",): ["''", "'../x'", "'a b'", "'" + "x" * 33 + "'", "'a\\n'", "'ü'", "'.a'"],
    ("device_wait",): ["-1", "604801", str(1 << 64)],
    ("kernel_tier",): ["''", "'on'", "'Auto'"],
    ("partial_checksums",): ["''", "'yes'", "'Auto'"],
    ("durability",): ["''", "'sync'", "'Always'", "'always'"],  # the last one without a data folder
    ("data",): ["''"],
    ("metrics",): ["''", "'9464'", "'localhost:9464'", "'127.0.0.1:'", "'127.0.0.1:65536'", "'[::1]:9464'", "':x'", "':1\\n'"],
    ("metrics_most",): ["-1", "2049", str(1 << 64)],
    ("transport",): ["''", "'XDP'", "'tcp'"],
}
BAD = [
    (name, value)
    for table in (OF_OTHER_TYPES, OUT_OF_RANGE)
    for names, values in table.items()
    for name in names
    for value in values
]


def load(tmp_path: Path, text: str | bytes, **overrides: object) -> ServerConfig:
    file = tmp_path / "splinter.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ServerConfig.load(file, **overrides)


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda value: value[:30].encode("unicode_escape").decode())
def test_what_does_not_fit_is_refused_by_its_name(tmp_path: Path, name: str, value: str) -> None:
    text = f"{name} = {value}".replace("'", '"')
    with pytest.raises(ServerError) as refused:
        load(tmp_path, text)
    message = str(refused.value)
    assert name.removesuffix("_bytes") in message or "size" in message or "core" in message or "address" in message, message
    assert len(message) > 15


def test_the_tables_have_every_setting() -> None:
    known = {field.name for field in dataclasses.fields(ServerConfig)} - {"cores", "log_cores"}
    assert known == {*TEXTS, *NUMBERS, *FLAGS}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"\x00", "not TOML"),
        (b"port", "not TOML"),
        (b"port = 1\nport = 2", "not TOML"),
        (b"a = " + b"[" * 30_000, "not TOML"),
        (b"#" * 100_000, "at most"),
        (b"[server]\nport = 1", "unknown setting 'server'"),
        (b"portt = 1", "unknown setting 'portt'"),
        (b"a = " + b"1" * 5000, "not TOML"),
    ],
    ids=range(9),
)
def test_a_file_that_is_no_configuration_is_told(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(ServerError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_a_file_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "splinter.toml").write_text("")
    (tmp_path / "splinter.toml").chmod(mode)
    with pytest.raises(ServerError, match="others may write"):
        load(tmp_path, "")


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    for path, message in [("missing", "No such file"), (".", "Is a directory"), ("a/b", "No such file")]:
        with pytest.raises(ServerError, match=message):
            ServerConfig.load(tmp_path / path)


def test_a_pipe_of_the_shell_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"port = 7172")
    os.close(writing)
    assert ServerConfig.load(Path(f"/dev/fd/{reading}")).port == 7172
    os.close(reading)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("224.0.0.1", "a group"),
        ("239.255.255.255", "a group"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.254", "reserved"),
        ("255.255.255.255", "everybody's"),
        ("0.0.0.1", "no host's"),
        ("0.255.255.255", "no host's"),
    ],
)
@pytest.mark.parametrize("transport", ["udp", "xdp", "auto"])
def test_an_address_that_is_no_single_hosts_is_refused(address: str, what: str, transport: str) -> None:
    with pytest.raises(ServerError, match=rf"address {address} is .*{what}.*give one that this host has"):
        ServerConfig(address=address, transport=transport).validate()


@pytest.mark.parametrize("address", ["0.0.0.0", "1.0.0.0", "10.0.0.255", "127.0.0.1", "169.254.1.1", "223.255.255.255"])
def test_an_address_that_may_be_a_hosts_is_taken(address: str) -> None:
    assert parse_address(address) == address


def test_what_fits_is_taken(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    text = f'port = 7172\nmemory = "64 MiB"\ncores = "{core}"\naddress = "0.0.0.0"\nsteal = false\ndevice = "eth0"'
    found = load(tmp_path, text, port=7173)
    assert (found.port, found.memory_bytes, found.cores) == (7173, 64 << 20, (core,))
    assert (found.address, found.steal, found.device, found.log_cores) == ("0.0.0.0", False, "eth0", ())
    assert load(tmp_path, f'data = "d"\nlog_cores = "{core}"').log_cores == (core,)
    assert parse_bytes(5) == 5
    assert parse_cores(" 0 , 2-3") == (0, 2, 3)
