-- Up to ARGV[3] records with ARGV[2] <= time <= ARGV[1].
local high, low, left = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local at, found = 1, {}
while at <= #page and left > 0 do
  local time, length = struct.unpack('<I8I2', page, at + 8)
  if time < low then
    break
  end
  if time <= high then
    found[#found + 1], left = string.sub(page, at, at + 18 + length - 1), left - 1
  end
  at = at + 18 + length
end
return table.concat(found)
