-- radmeter.day_begins(day, timezone): the first instant of a local day. Where midnight is left out, on the night of a change
-- of clocks, it is the first instant after it. Where midnight comes twice it is the first one: PostgreSQL takes the second.
CREATE OR REPLACE FUNCTION radmeter.day_begins(p_day date, p_timezone text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN ((p_day::timestamp AT TIME ZONE p_timezone - interval '1 hour') AT TIME ZONE p_timezone)::date = p_day
    THEN p_day::timestamp AT TIME ZONE p_timezone - interval '1 hour'
    ELSE p_day::timestamp AT TIME ZONE p_timezone
END;
