"""Flask-Limiter: limits of a service's views, through Flask's test client."""

from __future__ import annotations

import sys
from typing import Any

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from redis import Redis

from tests.support.waiting import wait_for

HERE, THERE = {"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": "192.0.2.2"}


def application(url: str, strategy: str) -> Flask:
    app = Flask(__name__)
    limiter = Limiter(
        get_remote_address, app=app, storage_uri=url, strategy=strategy, default_limits=["3 per hour"], headers_enabled=True
    )

    @app.get("/")
    def index() -> str:
        return "index"

    @app.get("/often")
    @limiter.limit("1 per second")
    def often() -> str:
        return "often"

    @app.get("/free")
    @limiter.exempt
    def free() -> str:
        return "free"

    return app


def limited(url: str, strategy: str) -> None:
    app = application(url, strategy)
    client = app.test_client()

    def asked(path: str, who: Any = HERE) -> tuple[int, str | None]:
        reply = client.get(path, environ_overrides=who)
        return reply.status_code, reply.headers.get("X-RateLimit-Remaining")

    assert [asked("/") for _ in range(4)] == [(200, "2"), (200, "1"), (200, "0"), (429, "0")]
    assert asked("/", THERE) == (200, "2") and asked("/free") == (200, None)
    for _ in range(2):
        wait_for(lambda: asked("/often")[0] == 200, what="the end of a window of one second")


def main(url: str) -> None:
    with Redis.from_url(url) as db:
        db.flushdb()
        limited(url, "fixed-window")


if __name__ == "__main__":
    main(sys.argv[1])
