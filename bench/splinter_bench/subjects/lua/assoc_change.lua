-- In each list, take out the record whose id2 is ARGV[1], and put in ARGV[1 + number of the list] unless that is empty.
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
