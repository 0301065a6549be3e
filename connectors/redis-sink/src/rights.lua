-- Which of the commands that the sink and `gristmill counts` send this user may not send.
--
-- KEYS  1 one of the sink's own keys, 2 a key to count, or the hash to count in
-- ARGV  1 '1' if the sink counts in hashes
-- Returns the names of the forbidden commands, or false where the server is too old to say
-- (acl_check_cmd came with Redis 7). Changes nothing.
if not redis.acl_check_cmd then return false end
local own, count = KEYS[1], KEYS[2]
local commands = {
  {'HGET', own, 'f'}, {'HMGET', own, 'f'}, {'HSET', own, 'f', 'v'}, {'HDEL', own, 'f'},
  {'HGETALL', own},
}
local more
if ARGV[1] == '1' then
  more = {
    {'HGETALL', count}, {'HINCRBY', count, 'f', '1'}, {'HSETNX', own, 'f', 'v'},
    {'ZADD', own, '1', 'm'}, {'ZREM', own, 'm'}, {'ZRANGEBYSCORE', own, '-inf', '0'},
    {'ZREMRANGEBYSCORE', own, '-inf', '0'}, {'PEXPIRE', count, '1'},
  }
else
  more = {
    {'SADD', own, 'm'}, {'SSCAN', own, '0'}, {'GET', count}, {'INCRBY', count, '1'},
    {'MGET', count},
  }
end
for _, command in ipairs(more) do commands[#commands + 1] = command end
local missing = {}
for _, command in ipairs(commands) do
  if not redis.acl_check_cmd(unpack(command)) then
    missing[#missing + 1] = command[1]
  end
end
return missing
