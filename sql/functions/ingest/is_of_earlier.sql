-- radmeter.is_of_earlier(event_time, start_time, received_at, session_start, session_began_at): whether a packet is of an
-- earlier session than the one whose start is given: it happened, and its session began, before that start, and it
-- arrived before that session began, by the clock of FreeRADIUS. A clock of the router that was set back does not look like
-- this: its packets arrive later. The first three are of the packet, the others of the session. NULL as false.
CREATE OR REPLACE FUNCTION radmeter.is_of_earlier(
    p_event_time timestamptz, p_start_time timestamptz, p_received_at timestamptz,
    p_session_start timestamptz, p_session_began_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN p_received_at + interval '60 seconds' < p_session_began_at
    AND p_start_time + interval '60 seconds' < p_session_start AND p_event_time < p_session_start;
