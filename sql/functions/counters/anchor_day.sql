-- radmeter.anchor_day(quota_type, anchor_day, quota_start): the day of the month, or the ISO weekday, on which a user's
-- quota periods begin: plans.anchor_day, or with 0 that of the day on which the user got the plan.
CREATE OR REPLACE FUNCTION radmeter.anchor_day(p_quota_type text, p_anchor_day smallint, p_quota_start date) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN p_anchor_day <> 0 THEN p_anchor_day
    WHEN p_quota_type = 'weekly' THEN coalesce(extract(isodow FROM p_quota_start), 1)::smallint
    ELSE coalesce(extract(day FROM p_quota_start), 1)::smallint
END;
