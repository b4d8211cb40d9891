-- radmeter.period_end(quota_type, anchor_day, period_start): the first day after a quota period.
-- For a user without a plan all arguments except the day are NULL: the period is the month from the 1st.
-- A month after the first day of a monthly period, there is exactly one beginning: months have 28 to 31 days.
-- Returns NULL for one-time: it does not end.
CREATE OR REPLACE FUNCTION radmeter.period_end(p_quota_type text, p_anchor_day smallint, p_period_start date) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE coalesce(p_quota_type, 'monthly')
    WHEN 'daily' THEN p_period_start + 1
    WHEN 'weekly' THEN p_period_start + 7
    WHEN 'monthly' THEN radmeter.period_start('monthly', p_anchor_day, NULL, p_period_start + 31)
END;
