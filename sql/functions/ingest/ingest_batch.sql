-- radmeter.ingest_batch(source, records): applies a batch of a detail file or of retries, exactly once. They have no
-- segments.
--   source   'detail:' with a digest, or 'retry'
--   records  as radmeter.ingest takes them. Records up to the source's checkpoint are skipped
-- The caller has the lock of radmeter.ingest and has checked that the session may use the source.
-- Returns the source's new checkpoint.
-- Called by radmeter.replay and radmeter.retry_rejected only. Writes ingest_checkpoint, and what radmeter.apply_batch
-- writes.
CREATE OR REPLACE FUNCTION radmeter.ingest_batch(p_source text, p_records json) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- JIT compilation takes longer than a batch: with PostgreSQL's default, the first few batches take seconds.
SET jit = off
AS $$
DECLARE
    v_checkpoint bigint;
    v_batch record;
BEGIN
    SELECT last_seq INTO v_checkpoint FROM public.ingest_checkpoint WHERE source = p_source;
    SELECT * INTO v_batch FROM radmeter.unpack_records(
        p_source, p_records, coalesce(v_checkpoint, 0),
        least(coalesce(v_checkpoint, 0), 9223372036854775807 - (1::bigint << 57)) + (1::bigint << 57), NULL, NULL);
    IF v_batch.last_seq IS NULL THEN
        RETURN coalesce(v_checkpoint, 0);
    END IF;
    PERFORM radmeter.apply_batch();
    INSERT INTO public.ingest_checkpoint AS checkpoint
            (source, last_seq, records, rejected, ignored, last_received_at, updated_at, role)
        VALUES (p_source, v_batch.last_seq, v_batch.records, v_batch.rejected, v_batch.ignored,
                v_batch.last_received_at, clock_timestamp(), session_user)
    ON CONFLICT (source) DO UPDATE SET
        last_seq = excluded.last_seq,
        records = checkpoint.records + excluded.records,
        rejected = checkpoint.rejected + excluded.rejected,
        ignored = checkpoint.ignored + excluded.ignored,
        last_received_at = greatest(checkpoint.last_received_at, excluded.last_received_at),
        updated_at = excluded.updated_at,
        -- NULL: the row is older than the column. A role that was dropped or renamed is nobody's any more.
        role = CASE WHEN checkpoint.role IN (SELECT rolname FROM pg_roles) THEN checkpoint.role ELSE excluded.role END;
    RETURN v_batch.last_seq;
END;
$$;
