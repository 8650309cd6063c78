"""``splinter serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_PANEL_LAB = "Network namespaces"
# The options of the command, in the order of its help.
_Config = Annotated[Path | None, typer.Option(help="Settings in TOML; options of the command line win.")]
_Instance = Annotated[
    str | None,
    typer.Option("--instance", "-i", envvar="SPLINTER_INSTANCE", help="Name of this server on the host."),
]
_Transport = Annotated[
    str | None, typer.Option(help="auto, xdp or udp. auto takes XDP where the machine can, and says why not.")
]
_Dev = Annotated[str | None, typer.Option("--dev", metavar="IFACE", help="Network device for XDP.")]
_Address = Annotated[str | None, typer.Option(help="IPv4 address to serve, 0.0.0.0 for all; by default all of the device's.")]
_DeviceWait = Annotated[
    int | None,
    typer.Option(metavar="SECONDS", help="End when the device has been gone for so long; by default 60. 0: at once."),
]
_PartialChecksums = Annotated[
    str | None,
    typer.Option(
        help="accept or refuse packets whose UDP checksum was left to the sending device. auto accepts them on veth, tun, "
        "bridge and netkit."
    ),
]
_KernelTier = Annotated[
    str | None,
    typer.Option(help="auto: the kernel answers the gets that it can, over XDP. off: workers answer all."),
]
_Port = Annotated[int | None, typer.Option(help="UDP port of requests, TCP port of control. 0: a free one, told at the start.")]
_RedisPort = Annotated[
    int | None,
    typer.Option(
        metavar="PORT", help="TCP port of the Redis protocol; by default it is not spoken. 0: a free one, told at start."
    ),
]
_Cores = Annotated[str | None, typer.Option(metavar="LIST", help="CPUs to run workers on, such as 0,1 or 0-3; by default all.")]
_Memory = Annotated[str | None, typer.Option(metavar="SIZE", help="Memory of the store, such as 1GiB.")]
_Steal = Annotated[
    bool | None,
    typer.Option("--steal/--no-steal", help="Idle workers take requests from busy ones; by default they do."),
]
_Balance = Annotated[
    bool | None,
    typer.Option("--balance/--no-balance", help="Move tenants away from a core that stays busier; by default yes."),
]
_Preempt = Annotated[
    bool | None,
    typer.Option(
        "--preempt/--no-preempt",
        help="Have extensions give way by yields that the compiler inserts. Without, only the watchdog ends a long one.",
        show_default="--preempt",
    ),
]
_WatchdogMs = Annotated[
    int | None, typer.Option(metavar="MS", help="Replace a worker that makes no progress for so long; by default 10.")
]
_KeepStore = Annotated[
    bool | None,
    typer.Option(
        "--keep-store/--no-keep-store",
        help="Leave the store when the server is stopped, for the next start to go on with (XDP). A crash always does.",
        show_default="--no-keep-store",
    ),
]
_Fresh = Annotated[
    bool | None, typer.Option("--fresh", help="Begin with an empty store, whatever an earlier server of this name left.")
]
_Data = Annotated[
    str | None, typer.Option(metavar="DIR", help="Keep tenants, objects and extensions in this folder; read it at the start.")
]
_Durability = Annotated[
    str | None,
    typer.Option(
        help="With --data, for tenants that say nothing else. interval: a crash of the machine loses at most the last second. "
        "always: a write is acknowledged, and seen, when it is on the disk. none: objects end with the server."
    ),
]
_LogCores = Annotated[
    str | None,
    typer.Option(metavar="LIST", help="With --data: CPUs for the process that writes to the disk, such as 0; by default any."),
]
_Salvage = Annotated[
    bool | None, typer.Option("--salvage", help="Leave out what is damaged in the data folder, and say what; else end.")
]
_Metrics = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS:PORT", help="Serve OpenMetrics there, for Prometheus. Port 0: a free one, told at start."),
]
_MetricsMost = Annotated[
    int | None,
    typer.Option(metavar="N", help="Tenants, and extensions, that have metrics of their own; by default 100. 0: sums only."),
]
_Audit = Annotated[bool | None, typer.Option("--audit", help="Check a store that an earlier server left before serving it.")]
_LogFormat = Annotated[str | None, typer.Option(help="text, or json: one document a line, on standard error.")]
_LogLevel = Annotated[
    str | None, typer.Option(help="debug, info, warning or error; by default info. Audit lines are always written.")
]
_Lab = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Serve in this lab ('splinter lab up').", rich_help_panel=_PANEL_LAB),
]
_Netns = Annotated[str | None, typer.Option(help="Network namespace to serve in.", rich_help_panel=_PANEL_LAB)]
_ClientNetns = Annotated[
    str | None,
    typer.Option(help="Where this host's clients reach the server from.", rich_help_panel=_PANEL_LAB),
]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(serve)


def _in_lab(lab: str, dev: str | None, netns: str | None, client_netns: str | None) -> tuple[str, str, str]:
    """Device and namespaces of a lab, where no others are named."""
    from splinter.net.lab import Lab

    room = Lab(lab)
    return dev or room.server.device, netns or room.server.namespace, client_netns or room.client.namespace


def serve(
    config: _Config = None,
    instance: _Instance = None,
    transport: _Transport = None,
    dev: _Dev = None,
    address: _Address = None,
    device_wait: _DeviceWait = None,
    partial_checksums: _PartialChecksums = None,
    kernel_tier: _KernelTier = None,
    port: _Port = None,
    redis_port: _RedisPort = None,
    cores: _Cores = None,
    memory: _Memory = None,
    steal: _Steal = None,
    balance: _Balance = None,
    preempt: _Preempt = None,
    watchdog_ms: _WatchdogMs = None,
    keep_store: _KeepStore = None,
    fresh: _Fresh = None,
    audit: _Audit = None,
    data: _Data = None,
    durability: _Durability = None,
    log_cores: _LogCores = None,
    salvage: _Salvage = None,
    metrics: _Metrics = None,
    metrics_most: _MetricsMost = None,
    log_format: _LogFormat = None,
    log_level: _LogLevel = None,
    lab: _Lab = None,
    netns: _Netns = None,
    client_netns: _ClientNetns = None,
) -> None:
    """Run a server until Ctrl-C or SIGTERM.

    Examples: 'splinter serve --lab splinter' in the lab's veth pair; 'splinter serve --dev eth0 --cores 2-5 --memory
    8GiB' on a real device; 'splinter serve --transport udp --address 127.0.0.1' without root.
    """
    if lab is not None:
        dev, netns, client_netns = _in_lab(lab, dev, netns, client_netns)
    given = {
        "instance": instance,
        "transport": transport,
        "device": dev,
        "address": address,
        "device_wait": device_wait,
        "partial_checksums": partial_checksums,
        "kernel_tier": kernel_tier,
        "port": port,
        "redis_port": redis_port,
        "cores": cores,
        "memory": memory,
        "steal": steal,
        "balance": balance,
        "netns": netns,
        "client_netns": client_netns,
        "preempt": preempt,
        "watchdog_ms": watchdog_ms,
        "keep_store": keep_store,
        "fresh": fresh,
        "audit": audit,
        "data": data,
        "durability": durability,
        "log_cores": log_cores,
        "salvage": salvage,
        "metrics": metrics,
        "metrics_most": metrics_most,
        "log_format": log_format,
        "log_level": log_level,
    }
    raise typer.Exit(_run(config, given))


def _run(config: Path | None, given: dict[str, Any]) -> int:
    """Run a server with settings of a file and of the command line; returns the exit status."""
    from splinter.server.config import ServerConfig

    path = config.absolute() if config is not None else None  # the server may be told to read it again

    def load() -> ServerConfig:
        return ServerConfig.load(path, **given)

    settings = load()
    from splinter.server.settings import Source
    from splinter.server.supervisor import serving  # loads compiled code: not before the settings are known to be right

    return serving.serve(settings, Source(path, load))
