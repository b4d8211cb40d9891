-- radmeter.is_possible_time(at): whether a session can have stopped at a time: from December 1998, a week before
-- FreeRADIUS's first year, to ten years from now. Returns boolean; NULL for NULL.
CREATE OR REPLACE FUNCTION radmeter.is_possible_time(p_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN p_at >= timestamptz '1998-12-01 00:00:00+00' AND p_at <= now() + interval '10 years';
