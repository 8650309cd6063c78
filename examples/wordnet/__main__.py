"""``python -m examples.wordnet``: what ``scripts/run`` starts."""

from examples.wordnet.demo import main

main()
