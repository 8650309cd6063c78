-- Follow ARGV[1] pointers: a value begins with the next key, as 8 bytes.
local key = KEYS[1]
for _ = 1, tonumber(ARGV[1]) do
  key = string.sub(redis.call('GET', key), 1, 8)
end
return key
