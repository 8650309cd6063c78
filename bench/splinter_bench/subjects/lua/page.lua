-- In front of what reads a list: its head, and its one page.
local head = redis.call('GET', KEYS[1])
local page = redis.call('GET', KEYS[1] .. struct.pack('<I8', struct.unpack('<I4', head, 16 + 8 + 1)))
