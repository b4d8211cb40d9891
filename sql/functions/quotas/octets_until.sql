-- radmeter.octets_until(percent, used, remaining): the octets until a percentage of a limit is used. NULL: it is, or there
-- is no limit.
CREATE OR REPLACE FUNCTION radmeter.octets_until(p_percent integer, p_used numeric, p_remaining numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(greatest(0, ceil((p_used + p_remaining) * p_percent / 100) - p_used), 0);
