"""``splinter serve`` in the foreground: a supervisor from its start to its end."""

from __future__ import annotations

import signal

from splinter.server import logs
from splinter.server.config import ServerConfig
from splinter.server.output import Output
from splinter.server.processes import OomPreference
from splinter.server.settings import Source
from splinter.server.supervisor import memory as memory_limits
from splinter.server.supervisor.signals import ENDING, StoppedError
from splinter.server.supervisor.supervisor import Supervisor


def serve(config: ServerConfig, source: Source) -> int:
    """Run a server in the foreground until a signal; returns the exit status. ``source``: what its settings come from."""
    OomPreference.protect()
    memory_limits.raise_limits()
    output = Output(logs.note_for(config.log_format))
    logs.set_up(config.log_format, config.log_level)
    supervisor = Supervisor(config, output=output, source=source)
    try:
        info = supervisor.start()
        where = f" in namespace {info.netns}" if info.netns else ""
        how = f" on {info.device}, {info.xdp_mode} mode, {info.queues} queues" if info.device else ""
        told = (
            f"serving {info.address}:{info.port}{where} by {info.transport}{how}, cores {list(info.cores)}, "
            f"instance {info.instance} (pid {info.pid})"
        )
        if info.metrics is not None:
            print(f"metrics: {info.metrics}")
        print(f"{told}; Ctrl-C stops")
        supervisor.manager.tell_ready(told)
        supervisor.run()
    except StoppedError:
        pass
    finally:
        try:
            supervisor.stop()
        finally:
            output.close()
            for number in ENDING:  # nobody watches for them any more
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
    return 0
