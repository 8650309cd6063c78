"""TAO's operations as functions in Lua for Redis, on the same bytes as ``splinter/ext/library/tao.py``.

Simpler than the extensions in one point: a list has one page, number 0, which is what the benchmark's lists need.
``KEYS[1]`` is a list's head, or an object. Writes answer 1 whatever they found, so that every reply is known beforehand.
"""

from __future__ import annotations

_PAGE = """
local head = redis.call('GET', KEYS[1])
local page = redis.call('GET', KEYS[1] .. struct.pack('<I8', struct.unpack('<I4', head, 16 + 8 + 1)))
"""

# The first ARGV[1] records.
RANGE = f"""{_PAGE}
local at, left = 1, tonumber(ARGV[1])
while at <= #page and left > 0 do
  at, left = at + 18 + struct.unpack('<I2', page, at + 16), left - 1
end
return string.sub(page, 1, at - 1)
"""

# Up to ARGV[3] records with ARGV[2] <= time <= ARGV[1].
TIME_RANGE = f"""{_PAGE}
local high, low, left = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local at, found = 1, {{}}
while at <= #page and left > 0 do
  local time, length = struct.unpack('<I8I2', page, at + 8)
  if time < low then
    break
  end
  if time <= high then
    found[#found + 1], left = string.sub(page, at, at + 18 + length - 1), left - 1
  end
  at = at + 18 + length
end
return table.concat(found)
"""

# The record whose id2 is ARGV[1], as 8 bytes.
GET = f"""{_PAGE}
local at = 1
while at <= #page do
  local following = at + 18 + struct.unpack('<I2', page, at + 16)
  if string.sub(page, at, at + 7) == ARGV[1] then
    return string.sub(page, at, following - 1)
  end
  at = following
end
return ''
"""

COUNT = "return struct.unpack('<I8', redis.call('GET', KEYS[1]))"

# In each list, take out the record whose id2 is ARGV[1], and put in ARGV[1 + number of the list] unless that is empty.
CHANGE = """
for number, key in ipairs(KEYS) do
  local page_key, fresh, parts, count, at = key .. struct.pack('<I8', 0), ARGV[1 + number], {}, 0, 1
  local page = redis.call('GET', page_key) or ''
  local fresh_time = fresh ~= '' and struct.unpack('<I8', fresh, 9)
  while at <= #page do
    local time, length = struct.unpack('<I8I2', page, at + 8)
    if fresh_time and time <= fresh_time then
      parts[#parts + 1], count, fresh_time = fresh, count + 1, false
    end
    if string.sub(page, at, at + 7) ~= ARGV[1] then
      parts[#parts + 1], count = string.sub(page, at, at + 18 + length - 1), count + 1
    end
    at = at + 18 + length
  end
  if fresh_time then
    parts[#parts + 1], count = fresh, count + 1
  end
  page = table.concat(parts)
  local newest = count > 0 and struct.unpack('<I8', page, 9) or 0
  redis.call('SET', page_key, page)
  redis.call('SET', key, struct.pack('<I8I8I8I4I4', count, 1, newest, 0, count))
end
return 1
"""

OBJECT = "return redis.call('GET', KEYS[1])"

# KEYS[1] counts objects; ARGV[1] is type and data.
ADD_OBJECT = """
redis.call('SET', 'o' .. struct.pack('<I8', redis.call('INCR', KEYS[1])), ARGV[1])
return 1
"""

UPDATE_OBJECT = """
local old = redis.call('GET', KEYS[1])
if old then
  redis.call('SET', KEYS[1], string.sub(old, 1, 8) .. ARGV[1])
end
return 1
"""

DELETE_OBJECT = """
redis.call('DEL', KEYS[1])
return 1
"""

FUNCTIONS = {
    "assoc_get": GET,
    "assoc_range": RANGE,
    "assoc_time_range": TIME_RANGE,
    "assoc_count": COUNT,
    "obj_get": OBJECT,
    "assoc_change": CHANGE,
    "obj_add": ADD_OBJECT,
    "obj_update": UPDATE_OBJECT,
    "obj_delete": DELETE_OBJECT,
}
