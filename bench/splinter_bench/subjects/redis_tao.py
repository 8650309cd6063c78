"""TAO's operations as functions in Lua for Redis, on the same bytes as ``splinter/ext/library/tao.py``.

Simpler than the extensions in one point: a list has one page, number 0, which is what the benchmark's lists need.
``KEYS[1]`` is a list's head, or an object. Writes answer 1 whatever they found, so that every reply is known beforehand.
"""

from __future__ import annotations

from splinter_bench.subjects.redis_lua import GET, body

_READ_PAGES = ("assoc_get", "assoc_range", "assoc_time_range")
_OTHERS = ("assoc_count", "assoc_change", "obj_add", "obj_update", "obj_delete")
FUNCTIONS = {
    "obj_get": GET,
    **{name: body("page") + body(name) for name in _READ_PAGES},
    **{name: body(name) for name in _OTHERS},
}
