-- The first ARGV[1] records.
local at, left = 1, tonumber(ARGV[1])
while at <= #page and left > 0 do
  at, left = at + 18 + struct.unpack('<I2', page, at + 16), left - 1
end
return string.sub(page, 1, at - 1)
