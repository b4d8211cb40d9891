-- radmeter.stale_after(session_interval, router_interval, minutes): how long a session may be without a packet.
-- This is the time of three interims, and at least `minutes`. The interval is the one in the session's packets
-- (Acct-Interim-Interval, RFC 2869 section 5.16), else the one observed for the router.
CREATE OR REPLACE FUNCTION radmeter.stale_after(
    p_session_interval integer, p_router_interval integer, p_minutes integer) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(p_minutes * interval '1 minute',
                coalesce(p_session_interval, p_router_interval, 0) * interval '3 seconds');
