-- radmeter.month_day(day, anchor_day): the anchor day in the month of a day.
-- If the month is shorter, it is the month's last day: anchor day 31 in April is the 30th.
CREATE OR REPLACE FUNCTION radmeter.month_day(p_day date, p_anchor_day smallint) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(
    (date_trunc('month', p_day::timestamp) + (p_anchor_day - 1) * interval '1 day')::date,
    (date_trunc('month', p_day::timestamp) + interval '1 month' - interval '1 day')::date);
