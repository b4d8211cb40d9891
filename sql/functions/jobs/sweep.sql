-- radmeter.sweep(table, after, rows): removes rows of sessions that are gone with their partition, from the next `rows`
-- rows.
--   table  session_slice, adoption_baseline or accounting_anomaly
--   after  the key up to which the table was swept: radacctid, or id of an anomaly. NULL: from the beginning
-- A session is gone if it is neither in radacct nor in a table that radmeter.detached_tables has. As long as there is such a
-- table, nothing is removed. Anomalies stay if their session may be in an archive: the limits remove them later. A baseline
-- stays while a change of user or router waits for it.
-- Returns the key to go on from (NULL: there is nothing more), and how many rows were removed (NULL: a partition is being
-- attached or detached just now, and nothing was done).
-- Called by the jobs. Writes radmeter.session_slice, radmeter.adoption_baseline or accounting_anomaly.
CREATE OR REPLACE FUNCTION radmeter.sweep(
    p_table text, p_after bigint, p_rows integer, OUT last bigint, OUT removed bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_ids bigint[];
BEGIN
    -- So that no partition is attached or detached meanwhile. Packets do not wait for this lock.
    BEGIN
        LOCK TABLE ONLY public.radacct IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN;
    END;
    -- Each DELETE is one statement, so it has one snapshot: a table that was loaded since is in it with its rows.
    IF p_table = 'session_slice' THEN
        SELECT max(radacctid), array_agg(DISTINCT radacctid) INTO last, v_ids FROM (
            SELECT radacctid FROM radmeter.session_slice WHERE p_after IS NULL OR radacctid > p_after
            ORDER BY radacctid LIMIT p_rows) AS batch;
        DELETE FROM radmeter.session_slice
        WHERE radacctid = ANY (v_ids) AND NOT EXISTS (SELECT FROM radmeter.detached_tables())
          AND radacctid <> ALL (ARRAY(SELECT session.radacctid FROM public.radacct AS session
                                      WHERE session.radacctid = ANY (v_ids)));
    ELSIF p_table = 'adoption_baseline' THEN
        SELECT max(radacctid), array_agg(radacctid) INTO last, v_ids FROM (
            SELECT radacctid FROM radmeter.adoption_baseline WHERE p_after IS NULL OR radacctid > p_after
            ORDER BY radacctid LIMIT p_rows) AS batch;
        DELETE FROM radmeter.adoption_baseline AS first
        WHERE radacctid = ANY (v_ids) AND NOT EXISTS (SELECT FROM radmeter.detached_tables())
          AND NOT EXISTS (SELECT FROM radmeter.adopted_move AS move WHERE move.radacctid = first.radacctid)
          AND radacctid <> ALL (ARRAY(SELECT session.radacctid FROM public.radacct AS session
                                      WHERE session.radacctid = ANY (v_ids)));
    ELSIF p_table = 'accounting_anomaly' THEN
        SELECT max(id), array_agg(DISTINCT radacctid) INTO last, v_ids FROM (
            SELECT id, radacctid FROM public.accounting_anomaly WHERE p_after IS NULL OR id > p_after
            ORDER BY id LIMIT p_rows) AS batch;
        DELETE FROM public.accounting_anomaly AS anomaly
        WHERE (p_after IS NULL OR id > p_after) AND id <= last
          AND radacctid = ANY (v_ids) AND NOT EXISTS (SELECT FROM radmeter.detached_tables())
          -- A session lasts at most 400 days.
          AND NOT EXISTS (SELECT FROM radmeter.archived_partition AS file
                          WHERE file.state IN ('detached', 'archived', 'loaded')
                            AND coalesce(anomaly.event_time, anomaly.detected_at) >= file.from_at - interval '400 days'
                            AND coalesce(anomaly.event_time, anomaly.detected_at) < file.to_at)
          AND radacctid <> ALL (ARRAY(SELECT session.radacctid FROM public.radacct AS session
                                      WHERE session.radacctid = ANY (v_ids)));
    ELSE
        RAISE EXCEPTION 'the table % is not swept', p_table;
    END IF;
    GET DIAGNOSTICS removed = ROW_COUNT;
END;
$$;
