"""Examples. Each one runs from the top of a checkout, such as ``.venv/bin/python -m examples.counter``."""
