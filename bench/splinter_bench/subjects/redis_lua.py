"""Functions in Lua that Redis runs beside its data: the counterparts of extensions.

Each is a body with ``KEYS`` and ``ARGV`` as Redis names them. It is called as an ad-hoc script (``EVALSHA``) or as a function
of a library (``FCALL``, Redis 7): the logic is the same text.
"""

from __future__ import annotations

from splinter_bench.subjects.redis import RedisServer, ask, command

GET = "return redis.call('GET', KEYS[1])"

# Follow ARGV[1] pointers: a value is the next key.
CHAIN = """
local key = KEYS[1]
for _ = 1, tonumber(ARGV[1]) do
  key = redis.call('GET', key)
end
return key
"""

# The same where a value begins with the next key, as 8 bytes.
SCAN = """
local key = KEYS[1]
for _ = 1, tonumber(ARGV[1]) do
  key = string.sub(redis.call('GET', key), 1, 8)
end
return key
"""

# Sum of the u64 that the values of all keys begin with.
AGGREGATE = """
local total = 0
for _, value in ipairs(redis.call('MGET', unpack(KEYS))) do
  total = total + struct.unpack('<I8', value)
end
return total
"""

# Which class the row ARGV[1] belongs to, by the forest KEYS[1]: splinter/ext/library/forest.py.
FOREST = """
local trees, classes = struct.unpack('<I4I4', redis.call('GET', KEYS[1]))
local row, sums = ARGV[1], {}
for kind = 1, classes do
  sums[kind] = 0
end
for number = 0, trees - 1 do
  local tree = redis.call('GET', KEYS[1] .. struct.pack('<I8', number))
  local threshold, feature, left, right = struct.unpack('<dI2I2I2', tree, 8 + 1)
  while feature ~= 65535 do
    local node = struct.unpack('<f', row, feature * 4 + 1) <= threshold and left or right
    threshold, feature, left, right = struct.unpack('<dI2I2I2', tree, 8 + 16 * node + 1)
  end
  local shares = 8 + 16 * struct.unpack('<I4', tree) + left * classes * 8
  for kind = 1, classes do
    sums[kind] = sums[kind] + struct.unpack('<d', tree, shares + (kind - 1) * 8 + 1)
  end
end
local best = 1
for kind = 2, classes do
  if sums[kind] / trees > sums[best] / trees then
    best = kind
  end
end
return best - 1
"""

_LIBRARY = "splinter"


def load_script(server: RedisServer, netns: str | None, body: str) -> bytes:
    """Have Redis keep a body for ``EVALSHA``; returns its digest. Raises :class:`SplinterError` when it is not Lua."""
    return ask(server, netns, b"SCRIPT", b"LOAD", body.encode())


def load_functions(server: RedisServer, netns: str | None, bodies: dict[str, str]) -> None:
    """Install bodies as functions for ``FCALL``, by name, in place of those before.

    Raises :class:`SplinterError` when one is not Lua.
    """
    functions = [f"redis.register_function('{name}', function(KEYS, ARGV)\n{body}\nend)" for name, body in bodies.items()]
    library = "\n".join([f"#!lua name={_LIBRARY}", *functions])
    ask(server, netns, b"FUNCTION", b"LOAD", b"REPLACE", library.encode())


def fcall(name: str, keys: list[bytes], *arguments: bytes) -> bytes:
    """The command that runs a function installed by :func:`load_functions`."""
    return command(b"FCALL", name.encode(), b"%d" % len(keys), *keys, *arguments)
