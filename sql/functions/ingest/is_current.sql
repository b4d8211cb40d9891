-- radmeter.is_current(last_time, last_session_time, event_time, session_time, stamped): whether a packet is newer
-- (radmeter.is_newer), or as late as the latest packet of its session before it.
CREATE OR REPLACE FUNCTION radmeter.is_current(
    p_last_time timestamptz, p_last_session_time bigint,
    p_event_time timestamptz, p_session_time bigint, p_stamped boolean) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (p_last_time IS NULL OR p_event_time >= p_last_time)
    AND (p_stamped OR p_session_time IS NULL OR p_last_session_time IS NULL
         OR p_session_time >= p_last_session_time);
