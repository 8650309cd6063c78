"""``python -m splinter`` is the command line."""

from splinter.cli.main import main

main()
