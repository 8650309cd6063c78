"""``python -m splinter.demo``: what ``scripts/run`` starts."""

from splinter.demo.demo import main

main()
