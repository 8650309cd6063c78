-- KEYS[1] counts objects; ARGV[1] is type and data.
redis.call('SET', 'o' .. struct.pack('<I8', redis.call('INCR', KEYS[1])), ARGV[1])
return 1
