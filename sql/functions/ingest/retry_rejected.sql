-- radmeter.retry_rejected(records): ingests rejected packets that can now be parsed, and removes them from
-- rejected_packet. Both happen in one transaction, so that an interrupted retry counts nothing twice.
--   records  JSON array of accounting records as radmeter.ingest takes them, each with "id" (rejected_packet.id) and
--            without seq; or {"id", "reason"} for a packet that still cannot be counted, with the reason
-- A record counts only if it is that of the stored packet (radmeter.packet_differences) and within the limits
-- (radmeter.record_fault). Otherwise the packet stays, with the reason. The arrival is the stored one.
-- The packet's first reason stays in front (radmeter.retry_reason). Only the fields that are compared are passed on.
-- Returns the ids that were ingested. A packet that another call has retried or dropped meanwhile is skipped.
-- Their source is "retry". Its sequence numbers are assigned here, under the lock of radmeter.ingest.
-- Writes rejected_packet, audit_log, and what radmeter.ingest writes.
CREATE OR REPLACE FUNCTION radmeter.retry_rejected(p_records json) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_checkpoint bigint;
    v_records json;
    v_packets jsonb;
    v_not_counted bigint;  -- records of this source that were not counted
    -- Exactly what radmeter.packet_differences compares. Another field would be believed.
    c_fields CONSTANT text[] := ARRAY[
        'status', 'uid', 'session_id', 'username', 'realm', 'nas_ip', 'nas_port_id',
        'nas_port_type', 'event_us', 'stamped', 'session_time', 'authentic', 'connect_info',
        'input_octets', 'output_octets', 'gigawords', 'called_station_id', 'calling_station_id',
        'terminate_cause', 'service_type', 'framed_protocol', 'framed_ip', 'framed_ipv6',
        'framed_ipv6_prefix', 'framed_interface_id', 'delegated_ipv6_prefix', 'class', 'router_key',
        'router_mac', 'nas_mac', 'nas_identifier', 'router_ip', 'interim_interval', 'skew_seconds',
        'client_ip'];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    v_checkpoint := coalesce((SELECT last_seq FROM public.ingest_checkpoint WHERE source = 'retry'), 0);
    UPDATE public.rejected_packet AS packet SET reason = radmeter.retry_reason(packet.reason, given.reason)
    FROM json_to_recordset(p_records) AS given (id bigint, reason text)
    WHERE packet.id = given.id AND given.reason IS NOT NULL
      AND packet.reason <> radmeter.retry_reason(packet.reason, given.reason);

    WITH given AS MATERIALIZED (
        SELECT id, source, seq, received_at, record, position,
               coalesce('these fields of the record are not those of the packet: '
                            || radmeter.packet_differences(pairs, received_at, record),
                        (SELECT radmeter.record_fault(status, uid, session_id, nas_ip, router_key, NULL, event_us, stamped,
                             session_time, input_octets, output_octets, gigawords, interim_interval)
                         FROM jsonb_to_record(record) AS field (
                             status text, uid text, session_id text, nas_ip inet, router_key text, event_us bigint,
                             stamped boolean, session_time bigint, input_octets bigint, output_octets bigint,
                             gigawords boolean, interim_interval bigint))) AS fault
        FROM (SELECT DISTINCT ON (id) (element ->> 'id')::bigint AS id, position,
                     (SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(element::jsonb)
                      WHERE key = ANY (c_fields)) AS record
              FROM json_array_elements(p_records) WITH ORDINALITY AS given (element, position)
              WHERE element ->> 'reason' IS NULL
              ORDER BY id, position) AS given
        JOIN public.rejected_packet AS packet USING (id)
    ), refused AS (
        UPDATE public.rejected_packet AS packet
        SET reason = radmeter.retry_reason(packet.reason, fault)
        FROM given WHERE packet.id = given.id AND fault IS NOT NULL
    ), taken AS (
        DELETE FROM public.rejected_packet AS packet USING given
        WHERE packet.id = given.id AND fault IS NULL RETURNING packet.id
    )
    SELECT json_agg(record || jsonb_build_object(
                        'seq', v_checkpoint + number,
                        'received_us', (extract(epoch FROM received_at) * 1000000)::bigint) ORDER BY number),
           jsonb_agg(jsonb_build_object('id', id, 'source', source, 'seq', seq, 'record', record) ORDER BY number)
    INTO v_records, v_packets
    FROM (SELECT given.*, row_number() OVER (ORDER BY given.position) AS number
          FROM given JOIN taken USING (id)) AS numbered;
    IF v_packets IS NULL THEN
        RETURN '{}';
    END IF;
    SELECT rejected + ignored INTO v_not_counted FROM public.ingest_checkpoint WHERE source = 'retry';
    PERFORM radmeter.ingest_batch('retry', v_records);
    -- Never: audit_log would say that they were counted.
    IF (SELECT rejected + ignored FROM public.ingest_checkpoint WHERE source = 'retry')
            > coalesce(v_not_counted, 0) THEN
        RAISE EXCEPTION 'retry: a record was not counted' USING ERRCODE = 'check_violation';
    END IF;
    PERFORM radmeter.audit('rejected retry', jsonb_build_object('packets', (
        SELECT jsonb_agg(packet - 'record'::text || jsonb_build_object(
            'status', record.status, 'user', record.username, 'router', router.id, 'router_name', router.name,
            'input_octets', record.input_octets, 'output_octets', record.output_octets) ORDER BY place)
        FROM jsonb_array_elements(v_packets) WITH ORDINALITY AS element (packet, place),
            jsonb_to_record(packet -> 'record') AS record (
                status text, username text, input_octets bigint, output_octets bigint,
                router_mac macaddr, nas_mac macaddr, nas_identifier text, router_ip inet)
        LEFT JOIN public.routers AS router
            ON router.id = radmeter.match_router(router_mac, nas_mac, record.nas_identifier, router_ip))));
    RETURN ARRAY(SELECT (packet ->> 'id')::bigint FROM jsonb_array_elements(v_packets) AS packet);
END;
$$;
