-- radmeter.retry_rejected(records): ingests rejected packets that can now be parsed, and removes them from
-- rejected_packet. Both happen in one transaction, so that an interrupted retry counts nothing twice.
--   records  JSON array of accounting records as radmeter.ingest takes them, each with "id" (rejected_packet.id) and
--            without seq; or {"id", "reason"} for a packet that still cannot be counted, with the reason
-- Returns the ids that were ingested. A packet that another call has retried or dropped meanwhile is skipped.
-- Their source is "retry". Its sequence numbers are assigned here, under the lock of radmeter.ingest.
-- Writes rejected_packet, audit_log, and what radmeter.ingest writes.
CREATE OR REPLACE FUNCTION radmeter.retry_rejected(p_records json) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_records json;
    v_ids bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    UPDATE public.rejected_packet AS packet SET reason = given.reason
    FROM json_to_recordset(p_records) AS given (id bigint, reason text)
    WHERE packet.id = given.id AND given.reason IS NOT NULL AND packet.reason <> given.reason;

    WITH given AS (
        SELECT record, (record ->> 'id')::bigint AS id, position
        FROM json_array_elements(p_records) WITH ORDINALITY AS element (record, position)
        WHERE record ->> 'reason' IS NULL
    ), taken AS (
        DELETE FROM public.rejected_packet AS packet USING given WHERE packet.id = given.id RETURNING packet.id
    )
    SELECT json_agg((record::jsonb || jsonb_build_object('seq', radmeter.node_checkpoint('retry') + number))
                    ORDER BY number),
           array_agg(id ORDER BY number)
    INTO v_records, v_ids
    FROM (SELECT given.record, given.id, row_number() OVER (ORDER BY given.position) AS number
          FROM given JOIN taken USING (id)) AS numbered;
    IF v_ids IS NULL THEN
        RETURN '{}';
    END IF;
    PERFORM radmeter.ingest_batch('retry', v_records);
    PERFORM radmeter.audit('rejected retry', jsonb_build_object('ids', to_jsonb(v_ids)));
    RETURN v_ids;
END;
$$;
