-- Sum of the u64 that the values of all keys begin with.
local total = 0
for _, value in ipairs(redis.call('MGET', unpack(KEYS))) do
  total = total + struct.unpack('<I8', value)
end
return total
