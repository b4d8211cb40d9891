-- radmeter.note_close(period, detail): notes in audit_log that a month was closed, and what came of it.
-- Writes audit_log.
CREATE OR REPLACE FUNCTION radmeter.note_close(p_period date, p_detail jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT radmeter.audit('billing close', jsonb_build_object('period', p_period) || p_detail);
$$;
