-- What apply.lua and window.lua, which follow this text in their scripts, refuse alike.

-- The answer to a batch that does not start at the stored offset; nil where it does. `fresh` is '1'
-- where no stored offset is fine.
local function misplaced(stored, from, fresh)
  if stored then
    if stored ~= from then return {1, stored} end
  elseif fresh ~= '1' then
    return {1}
  end
  return nil
end

-- Why `value` cannot be counted up by `increment`; nil where it can. Lua's numbers are exact up to
-- 2^53 only, so 64-bit values are compared as text.
local function problem(value, increment)
  if type(value) == 'table' then return 'holds no string' end
  if value == '0' then return nil end
  local sign, digits = string.match(value, '^(%-?)([1-9]%d*)$')
  if not digits then return 'holds no integer' end
  if #digits < 19 then return nil end
  -- 9223372036854775807 - increment; increments are far below 36854775807.
  local limit = '9223372036854775808'
  if sign == '' then
    limit = '92233720' .. string.format('%011.0f', 36854775807 - increment)
  end
  if #digits > 19 then return 'holds no 64-bit integer' end
  if digits > limit then return 'would overflow' end
  return nil
end

