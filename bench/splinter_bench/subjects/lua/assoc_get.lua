-- The record whose id2 is ARGV[1], as 8 bytes.
local at = 1
while at <= #page do
  local following = at + 18 + struct.unpack('<I2', page, at + 16)
  if string.sub(page, at, at + 7) == ARGV[1] then
    return string.sub(page, at, following - 1)
  end
  at = following
end
return ''
