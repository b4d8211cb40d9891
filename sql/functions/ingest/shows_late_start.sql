-- radmeter.shows_late_start(event_time, start_time, session_time, stamped, session_start, late_start_at): whether a packet
-- shows that the late Start of the open session of its id began a new session. The first four are of the packet
-- (start_time: its event time less its session time), the others of the session.
-- With a session time, the packet's session must have begun at the late Start or later. Without one, a late Start more
-- than 10 minutes after the session's start began a new session: no router repeats a Start for so long.
-- NULL as false.
CREATE OR REPLACE FUNCTION radmeter.shows_late_start(
    p_event_time timestamptz, p_start_time timestamptz, p_session_time bigint, p_stamped boolean,
    p_session_start timestamptz, p_late_start_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN p_late_start_at <= p_event_time
    AND CASE WHEN p_session_time > 0
             THEN p_start_time >= p_late_start_at - CASE WHEN p_stamped THEN interval '2 seconds'
                                                         ELSE interval '60 seconds' END
                  AND p_start_time - (p_late_start_at - p_start_time) > p_session_start
             ELSE p_late_start_at - interval '10 minutes' > p_session_start END;
