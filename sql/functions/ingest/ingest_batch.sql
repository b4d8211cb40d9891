-- radmeter.ingest_batch(source, records): applies a batch of one source, exactly once. All packets come in through it.
--   source, records  as radmeter.ingest takes them; source is also 'detail:' with a digest, or 'retry'
-- The caller has the lock of radmeter.ingest and has checked that the session may use the source.
-- Returns the source's new checkpoint.
-- Called by radmeter.ingest, radmeter.replay and radmeter.retry_rejected only. Writes what radmeter.ingest writes.
CREATE OR REPLACE FUNCTION radmeter.ingest_batch(p_source text, p_records json) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- JIT compilation takes longer than a batch: with PostgreSQL's default, the first few batches take seconds.
SET jit = off
AS $$
DECLARE
    v_checkpoint bigint;
    v_batch record;
    v_segment integer;
    v_round integer;
    v_rounds integer;
    v_segments integer;
BEGIN
    SELECT last_seq INTO v_checkpoint FROM public.ingest_checkpoint WHERE source = p_source;
    SELECT * INTO v_batch FROM radmeter.unpack_records(p_source, p_records, coalesce(v_checkpoint, 0));
    IF v_batch.last_seq IS NULL THEN
        RETURN coalesce(v_checkpoint, 0);
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

    INSERT INTO public.ingest_checkpoint AS checkpoint
            (source, last_seq, records, rejected, ignored, last_received_at, updated_at, role)
        VALUES (p_source, v_batch.last_seq, v_batch.records, v_batch.rejected, v_batch.ignored,
                v_batch.last_received_at, clock_timestamp(), session_user)
    ON CONFLICT (source) DO UPDATE SET
        last_seq = excluded.last_seq,
        records = checkpoint.records + excluded.records,
        rejected = checkpoint.rejected + excluded.rejected,
        ignored = checkpoint.ignored + excluded.ignored,
        -- unpack_records compares the next arrivals with it.
        last_received_at = greatest(checkpoint.last_received_at, excluded.last_received_at),
        updated_at = excluded.updated_at,
        -- NULL: the row is older than the column. A role that was dropped or renamed is nobody's any more.
        role = CASE WHEN checkpoint.role IN (SELECT rolname FROM pg_roles) THEN checkpoint.role ELSE excluded.role END;
    RETURN v_batch.last_seq;
END;
$$;
