-- These partitions have an owner: from now on no window closes without them.
--
-- KEYS  1 hash of marks
-- ARGV  the partitions
-- Returns up to when everything is final ('' = nothing is), then each partition's mark ('' = none).
local answer = {redis.call('HGET', KEYS[1], 'closed') or ''}
for i = 1, #ARGV do
  redis.call('HSETNX', KEYS[1], ARGV[i], '')
  answer[i + 1] = redis.call('HGET', KEYS[1], ARGV[i])
end
return answer
