-- The value of an object.
return redis.call('GET', KEYS[1])
