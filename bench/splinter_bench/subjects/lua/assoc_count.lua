-- How many records a list has.
return struct.unpack('<I8', redis.call('GET', KEYS[1]))
