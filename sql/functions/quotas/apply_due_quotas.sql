-- radmeter.apply_due_quotas(most): radmeter.apply_quotas for at most so many users whose plan, top-ups or counters were
-- changed, or whose time has come. Returns how many.
-- Ingest waits meanwhile: it counts for the same users, and locks in its own order.
CREATE OR REPLACE FUNCTION radmeter.apply_due_quotas(p_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_due text[];
    v_noted bigint[];
BEGIN
    IF (SELECT id FROM radmeter.quota_change ORDER BY id LIMIT 1) IS NULL
       AND NOT EXISTS (SELECT FROM radmeter.quota_account WHERE due_at <= now()) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    SELECT array_agg(id), array_agg(DISTINCT username) INTO v_noted, v_due
    FROM (SELECT id, username FROM radmeter.quota_change ORDER BY id LIMIT p_most FOR UPDATE SKIP LOCKED) AS noted;
    v_due := coalesce(v_due, '{}') || ARRAY(
        SELECT username FROM radmeter.quota_account WHERE due_at <= now() AND username <> ALL (coalesce(v_due, '{}'))
        ORDER BY due_at LIMIT p_most - coalesce(cardinality(v_due), 0));
    PERFORM radmeter.apply_quotas(v_due, false);
    -- Only now: radmeter.apply_quotas reads when the changes were made.
    DELETE FROM radmeter.quota_change WHERE id = ANY (v_noted);
    RETURN cardinality(v_due);
END;
$$;
