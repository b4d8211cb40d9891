-- radmeter.fits_session(start_time, session_time, session_start, late_start_at): whether the start that a Stop shows is
-- within 60 seconds of the start, or the late Start, of the open session of its id. The first two are of the Stop
-- (start_time: its event time less its session time), the others of the session. A Stop without a session time shows no
-- start, and fits.
CREATE OR REPLACE FUNCTION radmeter.fits_session(
    p_start_time timestamptz, p_session_time bigint, p_session_start timestamptz, p_late_start_at timestamptz)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN p_session_time IS NULL OR p_session_start IS NULL
    OR p_session_start BETWEEN p_start_time - interval '60 seconds' AND p_start_time + interval '60 seconds'
    OR coalesce(p_late_start_at BETWEEN p_start_time - interval '60 seconds' AND p_start_time + interval '60 seconds',
                false);
