"""Django's sessions in django-redis's cache: made, changed, given a new key, ended and expired, through a test client."""

from __future__ import annotations

import sys
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import path

from tests.support.redis_clients.django_cache import configured
from tests.support.waiting import wait_for


def visit(request: HttpRequest) -> JsonResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


def look(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"visits": request.session.get("visits", 0)})


def log_in(request: HttpRequest) -> JsonResponse:
    request.session.cycle_key()
    return look(request)


def log_out(request: HttpRequest) -> JsonResponse:
    request.session.flush()
    return look(request)


def shorten(request: HttpRequest) -> JsonResponse:
    request.session.set_expiry(1)
    return look(request)


urlpatterns = [path(f"{view.__name__}/", view) for view in (visit, look, log_in, log_out, shorten)]


def main(url: str) -> None:
    cache = configured(url)
    from django.conf import settings
    from django.test import Client

    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    settings.MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["testserver"]

    def visits(client: Client, view: str) -> Any:
        return client.get(f"/{view}/").json()["visits"]

    def stored() -> set[str]:
        return set(cache.keys("*"))

    one, other = Client(), Client()
    assert visits(one, "look") == 0 and stored() == set(), "a session that holds nothing is not stored"
    assert [visits(one, "visit") for _ in range(3)] == [1, 2, 3] and visits(other, "visit") == 1
    assert len(stored()) == 2 and visits(one, "look") == 3
    (before,) = (key for key in stored() if one.cookies["sessionid"].value in key)
    assert cache.ttl(before) > 1000
    assert visits(one, "log_in") == 3 and before not in stored() and len(stored()) == 2
    assert visits(other, "log_out") == 0 and len(stored()) == 1
    assert visits(other, "visit") == 1 and len(stored()) == 2
    (last,) = (key for key in stored() if one.cookies["sessionid"].value in key)
    assert visits(one, "shorten") == 3
    wait_for(lambda: last not in stored(), what="the end of a session of one second")
    assert visits(one, "visit") == 1 and visits(other, "look") == 1


if __name__ == "__main__":
    main(sys.argv[1])
