-- Follow ARGV[1] pointers: a value is the next key.
local key = KEYS[1]
for _ = 1, tonumber(ARGV[1]) do
  key = redis.call('GET', key)
end
return key
