-- Apply one batch of one partition: counts and next offset together, or nothing.
--
-- KEYS  1 hash of next offsets, 2 set of counted keys, 3.. keys to count
-- ARGV  1 partition, 2 first offset ('' = none), 3 next offset, 4 '1' = no stored offset is fine,
--       5.. increments, one for each key to count
-- Returns {0} applied; {1, stored} or {1} refused, the stored offset differs;
--         {2, index, reason, ...} refused, these keys (from 1) cannot be counted.
--
-- Redis does not roll back a script that fails midway. Hence everything that can be refused is
-- looked at before the first change, and the changes come in the order in which a failure (an ACL
-- that forbids a command) still does no harm.
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local refusal = misplaced(stored, ARGV[2], ARGV[4])
if refusal then return refusal end

local bad = {2}
for i = 3, #KEYS do
  local value = redis.pcall('GET', KEYS[i])
  if type(value) == 'table' and not string.find(value.err, 'WRONGTYPE', 1, true) then
    return value
  end
  if value then
    local reason = problem(value, tonumber(ARGV[i + 2]))
    if reason then
      bad[#bad + 1] = i - 2
      bad[#bad + 1] = reason
    end
  end
end
if #bad > 1 then return bad end

-- unpack() is bound by Lua's stack.
for first = 3, #KEYS, 1000 do
  redis.call('SADD', KEYS[2], unpack(KEYS, first, math.min(first + 999, #KEYS)))
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
for i = 3, #KEYS do
  local done = redis.pcall('INCRBY', KEYS[i], ARGV[i + 2])
  if type(done) == 'table' and done.err then
    -- Forbidden, then on the first key: nothing is counted yet, so the offset goes back.
    if i == 3 and ARGV[2] == '' then redis.call('HDEL', KEYS[1], ARGV[1])
    elseif i == 3 then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
    return done
  end
end
return {0}
