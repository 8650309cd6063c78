-- Replace an object's data by ARGV[1]; its type stays.
local old = redis.call('GET', KEYS[1])
if old then
  redis.call('SET', KEYS[1], string.sub(old, 1, 8) .. ARGV[1])
end
return 1
