-- radmeter.apply_due_quotas(most): radmeter.apply_quotas for at most so many users whose plan, top-ups or counters were
-- changed, or whose time has come. Returns how many.
-- Ingest waits meanwhile: it counts for the same users, and locks in its own order.
CREATE OR REPLACE FUNCTION radmeter.apply_due_quotas(p_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_due text[];
BEGIN
    IF NOT EXISTS (SELECT FROM radmeter.quota_change)
       AND NOT EXISTS (SELECT FROM radmeter.quota_account WHERE due_at <= now()) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    WITH noted AS (
        -- An array is computed once. As a subquery of IN it may be computed for each row, and find other rows each time.
        DELETE FROM radmeter.quota_change WHERE id = ANY (ARRAY(
            SELECT id FROM radmeter.quota_change ORDER BY id LIMIT p_most FOR UPDATE SKIP LOCKED))
        RETURNING username
    )
    SELECT array_agg(DISTINCT username) INTO v_due FROM noted;
    v_due := coalesce(v_due, '{}') || ARRAY(
        SELECT username FROM radmeter.quota_account WHERE due_at <= now() AND username <> ALL (coalesce(v_due, '{}'))
        ORDER BY due_at LIMIT p_most - coalesce(cardinality(v_due), 0));
    PERFORM radmeter.apply_quotas(v_due, false);
    RETURN cardinality(v_due);
END;
$$;
