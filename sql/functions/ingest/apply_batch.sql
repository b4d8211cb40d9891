-- radmeter.apply_batch(): applies the records that radmeter.unpack_records has put into the temporary table `incoming`.
-- The caller has the lock of radmeter.ingest, and notes the progress in the same transaction. All packets come in
-- through it.
-- SQLSTATE 55000: no trigger fires in this session.
-- Called by radmeter.ingest and radmeter.ingest_batch only. Writes what radmeter.ingest writes, except the progress.
CREATE OR REPLACE FUNCTION radmeter.apply_batch() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_segment integer;
    v_round integer;
    v_rounds integer;
    v_segments integer;
BEGIN
    IF current_setting('session_replication_role') = 'replica' THEN
        RAISE EXCEPTION 'session_replication_role is replica: the triggers that count would not fire'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'ALTER ROLE .. RESET session_replication_role, or ALTER DATABASE ..: radmeter doctor names it.';
    END IF;
    PERFORM radmeter.drop_idle_reboots();
    PERFORM radmeter.number_rounds();
    PERFORM radmeter.ensure_partition(month)
        FROM (SELECT DISTINCT date_trunc('month', event_time, 'UTC') AS month
              FROM pg_temp.incoming WHERE status = 'Stop') AS stops;

    SELECT coalesce(max(segment), -1) INTO v_segments FROM pg_temp.incoming;
    FOR v_segment IN 0 .. v_segments LOOP
        PERFORM radmeter.close_rebooted(v_segment);
        SELECT coalesce(max(round), 0) INTO v_rounds FROM pg_temp.incoming WHERE segment = v_segment;
        FOR v_round IN 1 .. v_rounds LOOP
            PERFORM radmeter.apply_round(v_segment, v_round);
        END LOOP;
    END LOOP;
END;
$$;
