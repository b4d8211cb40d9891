-- radmeter.apply_batch(): applies the records that radmeter.unpack_records has put into the temporary table `incoming`.
-- The caller has the lock of radmeter.ingest, and notes the progress in the same transaction. All packets come in
-- through it.
-- If the partition of a Stop's month is missing and cannot be made now (radmeter.ensure_partition), the Stop is applied as
-- an interim, which counts its octets. The session stays open, with closed_by 'stop' and the Stop's cause. The jobs close
-- it once there is a partition (radmeter.close_waiting). A connection tries again after 5 s, not with each batch.
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
    v_month timestamptz;
    v_tried_at timestamptz := nullif(current_setting('radmeter.partition_tried_at', true), '');
BEGIN
    IF current_setting('session_replication_role') = 'replica' THEN
        RAISE EXCEPTION 'session_replication_role is replica: the triggers that count would not fire'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'ALTER ROLE .. RESET session_replication_role, or ALTER DATABASE ..: radmeter doctor names it.';
    END IF;
    PERFORM radmeter.label_components();
    PERFORM radmeter.drop_idle_reboots();
    PERFORM radmeter.number_rounds();
    FOR v_month IN SELECT DISTINCT date_trunc('month', event_time, 'UTC') FROM pg_temp.incoming WHERE status = 'Stop' LOOP
        BEGIN
            IF clock_timestamp() - v_tried_at BETWEEN interval '0' AND interval '5 seconds'
                    AND NOT EXISTS (SELECT FROM radmeter.radacct_partitions()
                                    WHERE from_at <= v_month AND v_month < to_at) THEN
                RAISE lock_not_available;
            END IF;
            PERFORM radmeter.ensure_partition(v_month);
            CONTINUE;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
        IF (clock_timestamp() - v_tried_at BETWEEN interval '0' AND interval '5 seconds') IS NOT TRUE THEN
            PERFORM set_config('radmeter.partition_tried_at', clock_timestamp()::text, false);
        END IF;
        UPDATE pg_temp.incoming SET status = 'Interim-Update', waits = true
        WHERE status = 'Stop' AND date_trunc('month', event_time, 'UTC') = v_month;
    END LOOP;

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
