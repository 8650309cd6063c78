"""Flask-Session: sessions made, changed, given a new key, ended and expired, through a test client."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from flask import Flask, jsonify, session
from flask_session import Session
from redis import Redis

from tests.support.waiting import wait_for

PREFIX = "session:"
LONG = timedelta(minutes=30)


def application(db: Any, form: str) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SESSION_TYPE="redis",
        SESSION_REDIS=db,
        SESSION_SERIALIZATION_FORMAT=form,
        PERMANENT_SESSION_LIFETIME=LONG,
        SECRET_KEY="of a test",
    )
    Session(app)

    @app.get("/visit")
    def visit() -> Any:
        session["visits"] = session.get("visits", 0) + 1
        session["where"] = {"name": "ä", "list": [1, 2.5, None]}
        return jsonify(session["visits"])

    @app.get("/look")
    def look() -> Any:
        return jsonify(session.get("visits", 0))

    @app.get("/log_in")
    def log_in() -> Any:
        app.session_interface.regenerate(session)
        return jsonify(session["visits"])

    @app.get("/log_out")
    def log_out() -> Any:
        session.clear()
        return jsonify(0)

    return app


def visited(db: Any, app: Flask) -> None:
    def visits(client: Any, view: str) -> Any:
        return client.get(f"/{view}").json

    def stored() -> set[Any]:
        return set(db.keys(f"{PREFIX}*"))

    db.flushdb()
    one, other = app.test_client(), app.test_client()
    assert visits(one, "look") == 0 and stored() == set(), "a session that holds nothing is not stored"
    assert [visits(one, "visit") for _ in range(3)] == [1, 2, 3]
    (first,) = stored()
    assert LONG.total_seconds() / 2 < db.ttl(first) <= LONG.total_seconds() and db.get(first)
    assert visits(other, "visit") == 1 and len(stored()) == 2
    assert visits(one, "log_in") == 3 and first not in stored() and len(stored()) == 2
    assert visits(one, "visit") == 4
    assert visits(other, "log_out") == 0 and len(stored()) == 1
    assert visits(other, "look") == 0
    app.permanent_session_lifetime = timedelta(seconds=1)
    assert visits(one, "visit") == 5
    wait_for(lambda: not stored(), what="the end of a session of one second")
    app.permanent_session_lifetime = LONG
    assert visits(one, "visit") == 1


def main(url: str) -> None:
    with Redis.from_url(url) as db:
        for form in ("msgpack", "json"):
            visited(db, application(db, form))


if __name__ == "__main__":
    main(sys.argv[1])
