-- radmeter.percent_used(used, remaining): how much of a limit is used, in whole percent: 100 only if nothing remains.
-- NULL without a limit.
CREATE OR REPLACE FUNCTION radmeter.percent_used(p_used numeric, p_remaining numeric) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_remaining <= 0 THEN 100 ELSE floor(p_used * 100 / (p_used + p_remaining))::integer END;
