"""Small real programs by common clients of Redis. They know nothing of Splinter; status 0 tells that all was as they expect.

    python -m tests.support.redis_clients.NAME URL

URL is one of redis-py's (``redis://USER:PASSWORD@HOST:PORT/TABLE?protocol=3``); the table is the program's own, and emptied.
"""
