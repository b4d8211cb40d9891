-- radmeter.period_start(quota_type, anchor_day, quota_start, day): the first day of the quota period that a day is in.
-- For a user without a plan all arguments except the day are NULL: the period is the month from the 1st.
-- monthly: anchor_day is the day of the month on which a period begins, or the last day of a shorter month.
-- weekly: anchor_day is the ISO weekday, 1 = Monday. In both, 0 is the day of quota_start. one-time: a single period, from quota_start.
CREATE OR REPLACE FUNCTION radmeter.period_start(
    p_quota_type text, p_anchor_day smallint, p_quota_start date, p_day date) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE coalesce(p_quota_type, 'monthly')
    WHEN 'daily' THEN p_day
    WHEN 'weekly' THEN p_day - (extract(isodow FROM p_day)::int
        - least(coalesce(radmeter.anchor_day(p_quota_type, p_anchor_day, p_quota_start), 1), 7) + 7) % 7
    WHEN 'one-time' THEN coalesce(p_quota_start, date '1970-01-01')
    ELSE CASE
        WHEN coalesce(p_anchor_day, 1) = 1 THEN date_trunc('month', p_day::timestamp)::date
        WHEN p_day >= radmeter.month_day(p_day, radmeter.anchor_day(p_quota_type, p_anchor_day, p_quota_start))
            THEN radmeter.month_day(p_day, radmeter.anchor_day(p_quota_type, p_anchor_day, p_quota_start))
        ELSE radmeter.month_day((date_trunc('month', p_day::timestamp) - interval '1 day')::date,
                                radmeter.anchor_day(p_quota_type, p_anchor_day, p_quota_start))
    END
END;
