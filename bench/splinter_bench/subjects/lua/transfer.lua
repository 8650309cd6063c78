-- Moves ARGV[1] from the account KEYS[1] to KEYS[2]; 0 when there is less.
local amount = tonumber(ARGV[1])
local source, target = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if not source or not target then return redis.error_reply('no account') end
if tonumber(source) < amount then return 0 end
redis.call('SET', KEYS[1], string.format('%d', tonumber(source) - amount))
redis.call('SET', KEYS[2], string.format('%d', tonumber(target) + amount))
return 1
