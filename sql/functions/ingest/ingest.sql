-- radmeter.ingest(segment, after, after_digest, records, digest): applies a batch of a segment of a journal, exactly once.
--   segment       the segment's id; radmeter.open_segments has registered it
--   after         the segment's last number that is counted, as the caller knows it,
--   after_digest  and the digest over the records up to it; NULL: not known
--   records       JSON array in journal order: the records that follow. Each element is an accounting record, as
--                 radmeter.packet.record.AccountingRecord writes it, or a packet that cannot be counted:
--                 {"seq", "received_us", "client_ip", "reason", "pairs"}, or one whose status type carries no usage:
--                 {"seq", "received_us", "ignored"}. A record may have "pairs", too: see radmeter.refuse_unbelieved
--                 NULL: they are in the temporary table `staged`, into which the caller has copied them: see radmeter.stage
--   digest        the digest over the records up to the last of these
-- Returns the segment's last number that is counted now. No record is skipped, and none is counted twice.
-- SQLSTATE RM002: the journal belongs to another role. RM003: the numbers are impossible. RM004: the segment is not
-- registered, or its progress is not `after` and `after_digest`: nothing is stored. RM011: see radmeter.refuse_unbelieved.
-- Writes radmeter.journal_segment, radacct (whose triggers keep the counters), rejected_packet and kept_per_hour (see
-- radmeter.set_aside), routers (discovered only).
--
-- One batch is applied at a time, over all sources. Batches of a busy site change the same routers' counters and would wait
-- for each other anyway. They wait here, before they lock any row, so they can never deadlock.
CREATE OR REPLACE FUNCTION radmeter.ingest(
    p_segment uuid, p_after bigint, p_after_digest bigint, p_records json, p_digest bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- JIT compilation takes longer than a batch: with PostgreSQL's default, the first few batches take seconds.
SET jit = off
AS $$
DECLARE
    v_segment radmeter.journal_segment;
    v_batch record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    v_segment := radmeter.registered_segment(p_segment);
    IF v_segment.last_seq IS DISTINCT FROM p_after THEN
        RAISE EXCEPTION 'segment % of "%" is counted up to number %, not up to %',
            p_segment, v_segment.node, v_segment.last_seq, p_after USING ERRCODE = 'RM004';
    ELSIF v_segment.digest IS NOT NULL AND v_segment.digest IS DISTINCT FROM p_after_digest THEN
        RAISE EXCEPTION 'segment % of "%": other records were counted up to number % than those of this segment (digest % and %)',
            p_segment, v_segment.node, p_after, v_segment.digest, p_after_digest USING ERRCODE = 'RM004';
    END IF;
    SELECT * INTO v_batch FROM radmeter.unpack_records(
        v_segment.node, p_records, p_after, v_segment.first_seq + (1::bigint << 32), p_segment,
        coalesce(v_segment.last_received_at, radmeter.latest_arrival(p_segment)));
    IF v_batch.last_seq IS NULL THEN
        RETURN p_after;
    END IF;
    PERFORM radmeter.apply_batch();
    UPDATE radmeter.journal_segment SET
        last_seq = v_batch.last_seq,
        digest = p_digest,
        records = records + v_batch.records,
        rejected = rejected + v_batch.rejected,
        ignored = ignored + v_batch.ignored,
        -- unpack_records compares the next arrivals with it.
        last_received_at = greatest(last_received_at, v_batch.last_received_at),
        updated_at = clock_timestamp(),
        seen_at = clock_timestamp(),
        -- It was not all, if it was said to be finished.
        finished_at = NULL
    WHERE id = p_segment;
    RETURN v_batch.last_seq;
END;
$$;
