-- Which class the row ARGV[1] belongs to, by the forest KEYS[1]: splinter/ext/library/forest.py.
local trees, classes = struct.unpack('<I4I4', redis.call('GET', KEYS[1]))
local row, sums = ARGV[1], {}
for kind = 1, classes do
  sums[kind] = 0
end
for number = 0, trees - 1 do
  local tree = redis.call('GET', KEYS[1] .. struct.pack('<I8', number))
  local threshold, feature, left, right = struct.unpack('<dI2I2I2', tree, 8 + 1)
  while feature ~= 65535 do
    local node = struct.unpack('<f', row, feature * 4 + 1) <= threshold and left or right
    threshold, feature, left, right = struct.unpack('<dI2I2I2', tree, 8 + 16 * node + 1)
  end
  local shares = 8 + 16 * struct.unpack('<I4', tree) + left * classes * 8
  for kind = 1, classes do
    sums[kind] = sums[kind] + struct.unpack('<d', tree, shares + (kind - 1) * 8 + 1)
  end
end
local best = 1
for kind = 2, classes do
  if sums[kind] / trees > sums[best] / trees then
    best = kind
  end
end
return best - 1
