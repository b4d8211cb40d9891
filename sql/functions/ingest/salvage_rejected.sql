-- radmeter.salvage_rejected(source, segment, packets): keeps packets in rejected_packet that were left out because of a
-- limit.
--   segment  the segment that the packets are in
--   packets  JSON array of {"seq", "received_us", "client_ip", "reason", "pairs"}, with rising seq: packets of a kept
--            segment that cannot be counted
-- A packet is taken if its seq lies in the range of what was left out of its client and hour. That range is then shortened,
-- so each packet is salvaged once, and is not salvaged again after it was retried or dropped.
-- Returns how many were taken. SQLSTATE RM002: the journal belongs to another role.
-- Writes rejected_packet, radmeter.kept_per_hour, audit_log.
CREATE OR REPLACE FUNCTION radmeter.salvage_rejected(p_source text, p_segment uuid, p_packets json) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_taken integer;
    v_now_us bigint := extract(epoch FROM clock_timestamp()) * 1000000;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    PERFORM radmeter.check_journal(p_source);
    -- Else packets could be kept in the place of another role's.
    PERFORM radmeter.check_source_role(node) FROM radmeter.journal_segment WHERE id = p_segment;
    WITH given AS MATERIALIZED (
        SELECT packet.*, radmeter.arrival_hour(received_us) AS hour,
               CASE WHEN radmeter.is_believed_arrival(received_us, v_now_us)
                    THEN timestamptz 'epoch' + received_us * interval '1 microsecond'
                    ELSE clock_timestamp() END AS received_at,
               coalesce(host(radmeter.plain_address(client_ip)), 'unknown') AS sender
        FROM json_to_recordset(p_packets) AS packet (
            seq bigint, received_us bigint, client_ip inet, reason text, pairs json)
        WHERE reason IS NOT NULL
    ), found AS (
        SELECT given.*, hourly.client, hourly.left_out - hourly.salvaged AS most,
               row_number() OVER (PARTITION BY given.hour, hourly.client ORDER BY given.seq) AS number
        FROM given JOIN radmeter.kept_per_hour AS hourly
            ON hourly.kind = 'rejected packet' AND hourly.source = p_source AND hourly.hour = given.hour
               AND given.seq BETWEEN hourly.first_seq AND hourly.last_seq
               AND hourly.client = CASE
                   WHEN EXISTS (SELECT FROM radmeter.kept_per_hour AS own
                                WHERE own.kind = 'rejected packet' AND own.source = p_source
                                  AND own.hour = given.hour AND own.client = given.sender)
                   THEN given.sender ELSE 'others' END
    ), left_out AS MATERIALIZED (
        SELECT * FROM found WHERE number <= most  -- not more than were left out
    ), kept AS (
        INSERT INTO public.rejected_packet (source, segment, seq, received_at, client_ip, reason, pairs)
        SELECT p_source, p_segment, seq, received_at, client_ip, left(reason, 10000), radmeter.stored_pairs(pairs)
        FROM left_out ORDER BY seq
        ON CONFLICT DO NOTHING
        RETURNING seq
    ), shortened AS (
        UPDATE radmeter.kept_per_hour AS hourly
        SET salvaged = hourly.salvaged + taken.packets, first_seq = taken.last_seq + 1, updated_at = now()
        FROM (SELECT hour, client, count(*) AS packets, max(seq) AS last_seq
              FROM left_out GROUP BY hour, client) AS taken
        WHERE hourly.kind = 'rejected packet' AND hourly.source = p_source
          AND hourly.hour = taken.hour AND hourly.client = taken.client
    )
    SELECT count(*) INTO v_taken FROM kept;
    IF v_taken > 0 THEN
        PERFORM radmeter.audit('rejected salvage', jsonb_build_object('node', p_source, 'packets', v_taken));
    END IF;
    RETURN v_taken;
END;
$$;
