-- radmeter.ingest(source, records): applies a batch of one source, exactly once. All packets come in through it.
--   source   where the records come from: the name of a journal (its node), 'detail:' with a digest, or 'retry'
--   records  JSON array in journal order. Each element is an accounting record, as
--            radmeter.packet.record.AccountingRecord writes it, or a packet that cannot be counted:
--            {"seq", "received_us", "client_ip", "reason", "pairs"}, or one whose status type carries no usage:
--            {"seq", "received_us", "ignored"}
-- Returns the source's new checkpoint. All records up to it are counted. Records up to the old checkpoint are skipped.
-- Writes ingest_checkpoint, radacct (whose triggers keep the counters), rejected_packet and kept_per_hour (see
-- radmeter.set_aside), routers (discovered only).
--
-- One batch is applied at a time, over all sources. Batches of a busy site change the same routers' counters and would wait
-- for each other anyway. They wait here, before they lock any row, so they can never deadlock.
CREATE OR REPLACE FUNCTION radmeter.ingest(p_source text, p_records json) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
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
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    SELECT last_seq INTO v_checkpoint FROM public.ingest_checkpoint WHERE source = p_source;
    SELECT * INTO v_batch FROM radmeter.unpack_records(p_source, p_records, coalesce(v_checkpoint, 0));
    IF v_batch.last_seq IS NULL THEN
        RETURN coalesce(v_checkpoint, 0);
    END IF;
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
            (source, last_seq, records, rejected, ignored, last_received_at, updated_at)
        VALUES (p_source, v_batch.last_seq, v_batch.records, v_batch.rejected, v_batch.ignored,
                v_batch.last_received_at, clock_timestamp())
    ON CONFLICT (source) DO UPDATE SET
        last_seq = excluded.last_seq,
        records = checkpoint.records + excluded.records,
        rejected = checkpoint.rejected + excluded.rejected,
        ignored = checkpoint.ignored + excluded.ignored,
        last_received_at = excluded.last_received_at,
        updated_at = excluded.updated_at;
    RETURN v_batch.last_seq;
END;
$$;
