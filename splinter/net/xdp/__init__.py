"""The XDP programs in ``bpf/``: compile, load, attach, feed. :func:`probe` says whether they can be used."""

from splinter.net.xdp.client import EchoProgram, RedirectProgram
from splinter.net.xdp.probe import Obstacle, probe
from splinter.net.xdp.server import XdpProgram
from splinter.net.xdp.verdicts import ANSWERS, DROPS, LEFT_TO_WORKER, Verdict

__all__ = [
    "ANSWERS",
    "DROPS",
    "LEFT_TO_WORKER",
    "EchoProgram",
    "Obstacle",
    "RedirectProgram",
    "Verdict",
    "XdpProgram",
    "probe",
]
