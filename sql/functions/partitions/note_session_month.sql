-- radmeter.note_session_month(month): keeps in mind that radacct has a partition for a month.
-- One that is made again for sessions that may have been dropped with it is counted; one that lies ahead had none.
-- Called by radmeter.ensure_partition when it has made one. Writes radmeter.session_month.
CREATE OR REPLACE FUNCTION radmeter.note_session_month(p_month timestamptz) RETURNS void
LANGUAGE sql SET timezone = 'UTC'
AS $$
    INSERT INTO radmeter.session_month AS known (month) VALUES (p_month::date)
    ON CONFLICT (month) DO UPDATE SET made = known.made + 1 WHERE known.month <= now()::date;
$$;
