-- radmeter.note_session_month(month): notes that radacct has a partition for a month.
-- `made` counts how often the partition was made: if more than once, sessions may have been dropped with an earlier
-- one. For a month in the future it is not increased, since no sessions can have been dropped.
-- Called by radmeter.ensure_partition when it has made one. Writes radmeter.session_month.
CREATE OR REPLACE FUNCTION radmeter.note_session_month(p_month timestamptz) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
    INSERT INTO radmeter.session_month AS known (month) VALUES (p_month::date)
    ON CONFLICT (month) DO UPDATE SET made = known.made + 1 WHERE known.month <= now()::date;
$$;
