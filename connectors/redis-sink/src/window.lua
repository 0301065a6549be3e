-- Apply one batch of one partition to hashes of counts, windows or not: counts, next offset, mark,
-- late records and what became final, together or not at all.
--
-- KEYS  1 hash of next offsets, 2 hash of marks, 3 open windows, 4 closed windows, 5 late records
--       by key, 6.. hashes to count in
-- ARGV  1 partition, 2 first offset ('' = none), 3 next offset, 4 '1' = no stored offset is fine,
--       5 the partition's mark before ('' = none) and 6 after, 7 grace in ms ('' = no windows),
--       8 how long closed windows are kept in ms, 9 the time in ms,
--       then: how many late keys, and each with its increment; then for each hash: start, end,
--       how many fields, and each with its increment
-- Returns {0} applied; {1, stored} or {1} refused, the stored offset differs;
--         {2, index, reason, ...} refused, these fields (from 1, through all hashes) cannot be
--         counted; {3} refused, the stored mark differs.
--
-- Redis does not roll back a script that fails midway: see apply.lua for the order. A closed
-- window's key is not declared, since only Redis knows which close; it has the hash tag of those
-- that are, and so their slot.
local partition, from = ARGV[1], ARGV[2]
local stored = redis.call('HGET', KEYS[1], partition)
local refusal = misplaced(stored, from, ARGV[4])
if refusal then return refusal end
local windowed = ARGV[7] ~= ''
if windowed and (redis.call('HGET', KEYS[2], partition) or '') ~= ARGV[5] then return {3} end

local late_at = 10
local late = tonumber(ARGV[late_at])
local hashes_at = late_at + 1 + 2 * late

local bad, index, at = {2}, 0, hashes_at
for k = 6, #KEYS do
  for i = 0, tonumber(ARGV[at + 2]) - 1 do
    index = index + 1
    local value = redis.call('HGET', KEYS[k], ARGV[at + 3 + 2 * i])
    local reason = value and problem(value, tonumber(ARGV[at + 4 + 2 * i]))
    if reason then
      bad[#bad + 1] = index
      bad[#bad + 1] = reason
    end
  end
  at = at + 3 + 2 * tonumber(ARGV[at + 2])
end
if #bad > 1 then return bad end

at = hashes_at
if windowed then
  for k = 6, #KEYS do
    local name = ARGV[at] .. ' ' .. ARGV[at + 1] .. ' ' .. KEYS[k]
    redis.call('ZADD', KEYS[3], ARGV[at + 1], name)
    at = at + 3 + 2 * tonumber(ARGV[at + 2])
  end
end
redis.call('HSET', KEYS[1], partition, ARGV[3])
if windowed then redis.call('HSET', KEYS[2], partition, ARGV[6]) end
at = hashes_at
local first = true
for k = 6, #KEYS do
  for i = 0, tonumber(ARGV[at + 2]) - 1 do
    local done = redis.pcall('HINCRBY', KEYS[k], ARGV[at + 3 + 2 * i], ARGV[at + 4 + 2 * i])
    if type(done) == 'table' and done.err then
      -- Forbidden, then on the first field: nothing is counted yet, so all goes back.
      if first then
        if stored then redis.call('HSET', KEYS[1], partition, stored)
        else redis.call('HDEL', KEYS[1], partition) end
        if windowed then redis.call('HSET', KEYS[2], partition, ARGV[5]) end
      end
      return done
    end
    first = false
  end
  at = at + 3 + 2 * tonumber(ARGV[at + 2])
end
if not windowed then return {0} end

for i = 0, late - 1 do
  redis.call('HINCRBY', KEYS[5], ARGV[late_at + 1 + 2 * i], ARGV[late_at + 2 + 2 * i])
end

-- What every partition has passed is final.
local lowest, closed
local marks = redis.call('HGETALL', KEYS[2])
for i = 1, #marks, 2 do
  if marks[i] == 'closed' then
    closed = tonumber(marks[i + 1])
  elseif marks[i + 1] == '' then
    return {0}
  else
    local mark = tonumber(marks[i + 1])
    if not lowest or mark < lowest then lowest = mark end
  end
end
local edge = lowest - tonumber(ARGV[7])
if closed and edge <= closed then return {0} end
redis.call('HSET', KEYS[2], 'closed', string.format('%.0f', edge))
local keep, now = tonumber(ARGV[8]), tonumber(ARGV[9])
local over = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', edge))
for _, name in ipairs(over) do
  local key = string.match(name, '^%-?%d+ %-?%d+ (.*)$')
  redis.call('ZADD', KEYS[4], string.format('%.0f', now + keep), name)
  redis.call('ZREM', KEYS[3], name)
  redis.call('PEXPIRE', key, ARGV[8])
end
if #over > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', string.format('%.0f', now))
end
return {0}
