-- radmeter.is_newer(last_time, last_session_time, event_time, session_time, stamped): whether a packet is later than
-- all packets of its session before it. Event times are compared. Without a usable Event-Timestamp the event time comes
-- from the arrival; then a session time that went back shows a retransmission.
CREATE OR REPLACE FUNCTION radmeter.is_newer(
    p_last_time timestamptz, p_last_session_time bigint,
    p_event_time timestamptz, p_session_time bigint, p_stamped boolean) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (p_last_time IS NULL OR p_event_time > p_last_time)
    AND (p_stamped OR p_session_time IS NULL OR p_last_session_time IS NULL
         OR p_session_time >= p_last_session_time);
