"""``python -m tests.support.generic_server``: the command line of a server whose device's driver has no XDP."""

from splinter.cli.main import main
from splinter.net.bpf import syscall
from splinter.net.xdp import attach

attach._MODES = (("generic", syscall.LINK_GENERIC),)

if __name__ == "__main__":
    main()
