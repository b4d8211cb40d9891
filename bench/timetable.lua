-- wrk sends at a fixed rate: the next request has the next place of a timetable, whichever connection is free.
-- RATE is requests a second. At the end it prints percentiles in milliseconds, answers, errors and seconds.
local ffi = require("ffi")
ffi.cdef [[
    typedef struct { long seconds; long nanoseconds; } instant;
    int clock_gettime(int clock, instant *now);
]]
local MONOTONIC = 1
local instant = ffi.new("instant")
local every = 1000 / tonumber(os.getenv("RATE"))
local place

local function now()
    ffi.C.clock_gettime(MONOTONIC, instant)
    return tonumber(instant.seconds) * 1000 + tonumber(instant.nanoseconds) / 1000000
end

-- wrk asks before each request how many milliseconds its connection waits. A place that has passed is not made up for:
-- a burst after a pause would be another load.
function delay()
    local present = now()
    place = math.max((place or present) + every, present)
    return math.floor(place - present)
end

function done(summary, latency, requests)
    for _, percentile in pairs({ 50, 95, 99 }) do
        print(string.format("p%d_ms %.3f", percentile, latency:percentile(percentile) / 1000))
    end
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    print(string.format("answers %d", summary.requests - errors.status))
    print(string.format("errors %d", failed))
    print(string.format("per_second %.3f", summary.requests * 1000000 / summary.duration))
end
