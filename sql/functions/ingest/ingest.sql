-- radmeter.ingest(source, records): applies a batch of a journal, exactly once.
--   source   the name of a journal (its node)
--   records  JSON array in journal order. Each element is an accounting record, as
--            radmeter.packet.record.AccountingRecord writes it, or a packet that cannot be counted:
--            {"seq", "received_us", "client_ip", "reason", "pairs"}, or one whose status type carries no usage:
--            {"seq", "received_us", "ignored"}. A record may have "pairs", too: see radmeter.refuse_unbelieved
-- Returns the source's new checkpoint. All records up to it are counted. Records up to the old checkpoint are skipped.
-- SQLSTATE RM002: the journal belongs to another role, or the source is no journal. RM003: its numbers are impossible.
-- RM011: see radmeter.refuse_unbelieved.
-- Writes ingest_checkpoint, radacct (whose triggers keep the counters), rejected_packet and kept_per_hour (see
-- radmeter.set_aside), routers (discovered only).
--
-- One batch is applied at a time, over all sources. Batches of a busy site change the same routers' counters and would wait
-- for each other anyway. They wait here, before they lock any row, so they can never deadlock.
CREATE OR REPLACE FUNCTION radmeter.ingest(p_source text, p_records json) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    PERFORM radmeter.check_journal(p_source);
    RETURN radmeter.ingest_batch(p_source, p_records);
END;
$$;
