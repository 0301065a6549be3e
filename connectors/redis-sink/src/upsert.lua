-- Apply one batch of changes of one partition to a hash: fields and next offset, or nothing.
--
-- KEYS  1 hash of next offsets, 2 the hash of values
-- ARGV  1 partition, 2 first offset ('' = none), 3 next offset, 4 '1' = no stored offset is fine,
--       5 how many fields to set, then each with its value, then the fields to remove
-- Returns {0} applied; {1, stored} or {1} refused, the stored offset differs.
--
-- A field that is set twice is what it was set to once: the values go first, the offset last, so
-- that a script that fails midway (Redis does not roll back) is made good by the same batch.
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored then
  if stored ~= ARGV[2] then return {1, stored} end
elseif ARGV[4] ~= '1' then
  return {1}
end
local removed_at = 6 + 2 * tonumber(ARGV[5])
-- unpack() is bound by Lua's stack.
for first = 6, removed_at - 1, 1000 do
  redis.call('HSET', KEYS[2], unpack(ARGV, first, math.min(first + 999, removed_at - 1)))
end
for first = removed_at, #ARGV, 1000 do
  redis.call('HDEL', KEYS[2], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return {0}
