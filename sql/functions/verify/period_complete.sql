-- radmeter.period_complete(quota_type, anchor_day, quota_start, timezone, period_start, complete_from): whether all
-- sessions that can have counted in a user's quota period are still there. Only then a counter that differs from their
-- sum is wrong.
--   quota_type .. timezone  of the user's plan and subscription today; NULL without a plan
--   period_start            the first day of the period
--   complete_from           what radmeter.sessions_complete_from returns
-- If nothing was ever removed, all are there. A one-time period also holds what was used before its first day, for
-- example from an old detail file. So after any removal a period is not complete if it is, or was before a change of
-- plan, one-time: it began on the user's quota_start, or today's plan begins no period on that day.
-- One more day after the removed sessions is not complete: a late packet counts on its own day, perhaps the day after
-- the stop. Reads radmeter.setting.
CREATE OR REPLACE FUNCTION radmeter.period_complete(
    p_quota_type text, p_anchor_day smallint, p_quota_start date, p_timezone text, p_period_start date,
    p_complete_from timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN p_complete_from = '-infinity'
    OR (p_quota_start IS DISTINCT FROM p_period_start
        AND radmeter.period_start(p_quota_type, p_anchor_day, p_quota_start, p_period_start) = p_period_start
        AND p_period_start::timestamp AT TIME ZONE coalesce(p_timezone, radmeter.setting_value('timezone'))
            >= p_complete_from + interval '1 day');
