-- radmeter.is_possible_time(at): whether a session can have stopped at a time: from December 1998, a week before
-- FreeRADIUS's first year, to 7 February 2106, the last time that Event-Timestamp can have (RFC 2869 section 5.3: 32
-- bits). An adopted table may have stops of a wrong clock in later years. Returns boolean; NULL for NULL.
CREATE OR REPLACE FUNCTION radmeter.is_possible_time(p_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_at >= timestamptz '1998-12-01 00:00:00+00' AND p_at <= timestamptz '2106-02-07 06:28:15+00';
