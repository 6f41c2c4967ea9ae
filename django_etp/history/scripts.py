"""The Lua scripts of histories in Redis or Valkey. Each is one step: no other command comes between.

A room has three keys with one hash tag, so that they are on one node of a cluster: a hash with its epoch, its last
number and the time of that; a stream of its events; a sorted set of the names of its durable events. The id of an event
in the stream is its time in milliseconds, and its number. The clock is the server's.
"""

__all__ = ["APPEND", "READ_AFTER", "READ_BEFORE"]

# The room, which begins if it is not there. Without its hash, the rest is of an earlier epoch.
_OPEN = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', KEYS[1], 'epoch', 'number', 'at')
local epoch, number, at = state[1], tonumber(state[2]), tonumber(state[3])
if not epoch then
    epoch, number, at = ARGV[1], 0, now
    redis.call('DEL', KEYS[2], KEYS[3])
    redis.call('HSET', KEYS[1], 'epoch', epoch, 'number', 0, 'at', string.format('%.0f', at))
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
"""

# Append an event and publish it. Arguments: a new epoch, how long to keep the room, the channel, the event, its name if
# it is durable, how many events to keep, for how long, and how many names to remember. Times are in milliseconds.
APPEND = (
    _OPEN
    + """
if ARGV[5] ~= '' then
    local known = redis.call('ZSCORE', KEYS[3], ARGV[5])
    if known then
        return {epoch, tonumber(known), 0}
    end
end
number = number + 1
at = math.max(now, at)
local count, moment = string.format('%.0f', number), string.format('%.0f', at)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], moment .. '-' .. count, 'event', ARGV[4])
redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', math.max(0, now - ARGV[7])))
redis.call('PEXPIRE', KEYS[2], ARGV[7])
redis.call('HSET', KEYS[1], 'number', count, 'at', moment)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if ARGV[5] ~= '' then
    redis.call('ZADD', KEYS[3], count, ARGV[5])
    redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', number - ARGV[8])
    redis.call('PEXPIRE', KEYS[3], ARGV[2])
end
redis.call('PUBLISH', ARGV[3], epoch .. '.' .. count .. ' ' .. moment .. ' ' .. ARGV[4])
return {epoch, number, 1}
"""
)

# Return the epoch, the last number, the time, and the events after a position, the last one first. Arguments: a new
# epoch, how long to keep the room, the epoch and the number of the position, and how many events are too many.
READ_AFTER = (
    _OPEN
    + """
local missed, entries = number - ARGV[4], {}
if ARGV[3] == epoch and missed > 0 and missed <= tonumber(ARGV[5]) then
    entries = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', missed)
end
return {epoch, number, now, entries}
"""
)

# Return the same, with up to so many events before a position, or the last ones. Arguments: the epoch and the number of
# the position, if there is one, and how many events to return, and to look at.
READ_BEFORE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', KEYS[1], 'epoch', 'number')
local epoch, number = state[1], tonumber(state[2])
if not epoch or (ARGV[1] ~= '' and ARGV[1] ~= epoch) then
    return {'', 0, now, {}}
end
local skipped = ARGV[1] == '' and 0 or math.max(0, number - ARGV[2] + 1)
local entries = {}
if skipped < tonumber(ARGV[4]) then
    entries = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', math.min(skipped + ARGV[3], ARGV[4]))
end
return {epoch, number, now, entries}
"""
