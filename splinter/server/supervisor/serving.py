"""``splinter serve`` in the foreground: a supervisor from its start to its end."""

from __future__ import annotations

import signal

from splinter.server import logs
from splinter.server.config import ServerConfig
from splinter.server.output import Output
from splinter.server.processes import OomPreference, keep_loaded
from splinter.server.settings import Source
from splinter.server.supervisor import memory as memory_limits
from splinter.server.supervisor.signals import ENDING, StoppedError
from splinter.server.supervisor.supervisor import Supervisor


def serve(config: ServerConfig, source: Source) -> int:
    """Run a server in the foreground until a signal; returns the exit status. ``source``: what its settings come from."""
    keep_loaded()  # all that a server needs is, by now
    OomPreference.protect()
    memory_limits.raise_limits()
    output = Output(logs.note_for(config.log_format))
    logs.set_up(config.log_format, config.log_level)
    supervisor = Supervisor(config, output=output, source=source)
    was_asked = False
    try:
        info = supervisor.start()
        where = f" in namespace {info.netns}" if info.netns else ""
        how = f" on {info.device}, {info.xdp_mode} mode, {info.queues} queues" if info.device else ""
        told = (
            f"serving {info.address}:{info.port}{where} by {info.transport}{how}, cores {list(info.cores)}, "
            f"instance {info.instance} (pid {info.pid})"
        )
        if info.redis_port is not None:
            print(f"redis: {info.address}:{info.redis_port}")
        if info.metrics is not None:
            print(f"metrics: {info.metrics}")
        print(f"{told}; Ctrl-C stops")
        supervisor.manager.tell_ready(told)
        supervisor.run()
        was_asked = True
    except StoppedError:
        was_asked = True
    finally:
        try:
            supervisor.stop()
        finally:
            output.close()
            # Who was asked to end does so in order, however often. Who failed says why, and may wait for a reader.
            for number in ENDING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_IGN if was_asked else signal.SIG_DFL)
    return 0
