-- A partition that is read to its end and quiet no longer holds windows open: its mark moves to
-- another's.
--
-- KEYS  1 hash of next offsets, 2 hash of marks
-- ARGV  1 partition, 2 its next offset ('' = none), 3 its mark before ('' = none), 4 and after
-- Returns 1 if it moved, 0 if the partition is not where its owner believes it to be.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if (redis.call('HGET', KEYS[2], ARGV[1]) or '') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
return 1
