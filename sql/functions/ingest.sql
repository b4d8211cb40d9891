-- radmeter.ingest(node, records): takes a batch of a node's journal, exactly once. The only way packets come in.
--   node     the journal the records come from
--   records  JSON array in journal order; each element is an accounting record as radmeter.record.AccountingRecord
--            writes it, or a packet that cannot be counted: {"seq", "received_us", "reason", "pairs"}
-- Returns the node's new checkpoint: everything at or below it is counted, what was there before is skipped.
-- Writes ingest_checkpoint, radacct (whose triggers keep the counters), rejected_packet, routers (discovered only).
--
-- One batch is applied at a time, over all nodes: batches of a busy site touch the same routers anyway and would wait
-- for each other's counters; waiting here, before the first row is touched, they can never deadlock.
CREATE OR REPLACE FUNCTION radmeter.ingest(p_node text, p_records json) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_checkpoint bigint;
    v_segment integer;
    v_round integer;
    v_rounds integer;
    v_segments integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    SELECT last_seq INTO v_checkpoint FROM public.ingest_checkpoint WHERE node = p_node;
    PERFORM radmeter.unpack_records(p_node, p_records, coalesce(v_checkpoint, 0));
    PERFORM radmeter.ensure_partition(month)
        FROM (SELECT DISTINCT date_trunc('month', event_time, 'UTC') AS month
              FROM pg_temp.incoming WHERE status = 'Stop') AS stops;

    -- Accounting-On and -Off cut the batch into segments; in a segment, the records of one session are applied one a
    -- round, so that each sees what the one before it left.
    SELECT coalesce(max(segment), -1) INTO v_segments FROM pg_temp.incoming;
    FOR v_segment IN 0 .. v_segments LOOP
        PERFORM radmeter.close_rebooted(v_segment);
        SELECT coalesce(max(round), 0) INTO v_rounds FROM pg_temp.incoming WHERE segment = v_segment;
        FOR v_round IN 1 .. v_rounds LOOP
            PERFORM radmeter.apply_round(v_segment, v_round);
        END LOOP;
    END LOOP;

    INSERT INTO public.ingest_checkpoint AS checkpoint
            (node, last_seq, records, rejected, last_received_at, updated_at)
        SELECT p_node, max(seq), count(*), count(*) FILTER (WHERE reason IS NOT NULL),
               max(timestamptz 'epoch' + received_us * interval '1 microsecond'), clock_timestamp()
        FROM json_to_recordset(p_records) AS record (seq bigint, received_us bigint, reason text)
        WHERE seq > coalesce(v_checkpoint, 0)
        HAVING count(*) > 0
    ON CONFLICT (node) DO UPDATE SET
        last_seq = excluded.last_seq,
        records = checkpoint.records + excluded.records,
        rejected = checkpoint.rejected + excluded.rejected,
        last_received_at = excluded.last_received_at,
        updated_at = excluded.updated_at
    RETURNING last_seq INTO v_checkpoint;
    RETURN (SELECT last_seq FROM public.ingest_checkpoint WHERE node = p_node);
END;
$$;
