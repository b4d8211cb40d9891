-- radmeter.overage(quota, quota_in, quota_out, used_in, used_out): the octets beyond a quota, which top-ups pay: beyond
-- the quota of both directions, or beyond those of each direction, whichever are more. A quota of NULL is no limit.
CREATE OR REPLACE FUNCTION radmeter.overage(
    p_quota numeric, p_quota_in numeric, p_quota_out numeric, p_used_in numeric, p_used_out numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest(0, p_used_in + p_used_out - p_quota,
    greatest(0, coalesce(p_used_in - p_quota_in, 0)) + greatest(0, coalesce(p_used_out - p_quota_out, 0)));
