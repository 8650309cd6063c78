"""``python -m splinter`` is the command line."""

from splinter.cli.start import main

main()
