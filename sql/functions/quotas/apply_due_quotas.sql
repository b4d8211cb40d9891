-- radmeter.apply_due_quotas(most): radmeter.apply_quotas for at most so many users whose plan or top-ups were changed, or
-- whose time has come. Returns how many.
CREATE OR REPLACE FUNCTION radmeter.apply_due_quotas(p_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_due text[] := ARRAY(SELECT username FROM radmeter.quota_account WHERE due_at <= now() ORDER BY due_at LIMIT p_most);
BEGIN
    IF v_due = '{}' THEN
        RETURN 0;
    END IF;
    -- Ingest counts for these users meanwhile, and locks in its own order.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    PERFORM radmeter.apply_quotas(v_due, false);
    RETURN cardinality(v_due);
END;
$$;
