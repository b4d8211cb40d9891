-- radmeter.set_aside(source, segment, packets): keeps rejected packets in rejected_packet, within the limits
-- rejected_per_client_hour and rejected_bytes_per_client_hour. The rest is counted in radmeter.kept_per_hour.
--   segment  the segment of a journal that the packets were in; NULL: of no journal
--   packets  JSON array of {"seq", "received_at", "received_us", "client_ip", "reason", "pairs"}; received_at is the arrival
--            as it is kept, received_us the arrival as it was sent, by which radmeter.arrival_hour limits it
-- The limits hold for each source, client and hour of arrival. So no client's packets are left out because of another's.
-- Once a packet is left out, all later ones of that source, client and hour are. So the rejected packets of a client and
-- hour from first_seq on are exactly those that were left out (radmeter.salvage_rejected needs that). A higher limit
-- therefore holds from the next hour on.
-- A copy of a journal has the name of its original, and shares these limits and this range with it.
-- The clients beyond the first thousand of an hour share one row, `others`. Else a flood with forged addresses could make
-- this table grow instead.
-- Called by radmeter.unpack_records, under its lock. Writes rejected_packet, radmeter.kept_per_hour.
CREATE OR REPLACE FUNCTION radmeter.set_aside(p_source text, p_segment uuid, p_packets json) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_most_rows bigint := radmeter.limit_value('rejected_per_client_hour');
    v_most_bytes bigint := radmeter.limit_value('rejected_bytes_per_client_hour');
BEGIN
    WITH given AS MATERIALIZED (
        SELECT packet.*, radmeter.arrival_hour(received_us) AS hour,
               coalesce(host(radmeter.plain_address(client_ip)), 'unknown') AS sender,
               octet_length(reason) + octet_length(pairs::text) AS bytes
        FROM json_to_recordset(p_packets) AS packet (
            seq bigint, received_at timestamptz, received_us bigint, client_ip inet, reason text, pairs json)
    ), named AS (
        SELECT given.*, counted.client
        FROM (SELECT hour, array_agg(DISTINCT sender) AS senders FROM given GROUP BY hour) AS hours
        CROSS JOIN LATERAL radmeter.kept_as('rejected packet', p_source, hours.hour, senders) AS counted
        JOIN given ON given.hour = hours.hour AND given.sender = counted.sender
    ), numbered AS MATERIALIZED (
        SELECT named.*, hourly.left_out > 0 AS left_out_before,
               coalesce(hourly.kept, 0) + row_number() OVER earlier AS rows_so_far,
               coalesce(hourly.kept_bytes, 0) + sum(bytes) OVER earlier AS bytes_so_far
        FROM named LEFT JOIN radmeter.kept_per_hour AS hourly
            ON hourly.kind = 'rejected packet' AND hourly.source = p_source
               AND hourly.hour = named.hour AND hourly.client = named.client
        WINDOW earlier AS (PARTITION BY named.hour, named.client ORDER BY seq)
    ), judged AS MATERIALIZED (
        SELECT numbered.*,
               left_out_before IS NOT TRUE AND rows_so_far <= coalesce(v_most_rows, rows_so_far)
                   AND bytes_so_far <= coalesce(v_most_bytes, bytes_so_far) AS fits
        FROM numbered
    ), kept AS (
        INSERT INTO public.rejected_packet (source, segment, seq, received_at, client_ip, reason, pairs)
        -- Stored within bounds, whatever came.
        SELECT p_source, p_segment, seq, received_at, client_ip, left(reason, 10000), radmeter.stored_pairs(pairs)
        FROM judged WHERE fits ORDER BY seq
        ON CONFLICT DO NOTHING
    )
    INSERT INTO radmeter.kept_per_hour AS hourly
        (kind, source, hour, client, kept, kept_bytes, left_out, first_seq, last_seq)
    SELECT 'rejected packet', p_source, hour, client,
           count(*) FILTER (WHERE fits), coalesce(sum(bytes) FILTER (WHERE fits), 0),
           count(*) FILTER (WHERE NOT fits), min(seq) FILTER (WHERE NOT fits), max(seq) FILTER (WHERE NOT fits)
    FROM judged GROUP BY hour, client ORDER BY hour, client
    ON CONFLICT (kind, source, hour, client) DO UPDATE SET
        kept = hourly.kept + excluded.kept,
        kept_bytes = hourly.kept_bytes + excluded.kept_bytes,
        left_out = hourly.left_out + excluded.left_out,
        first_seq = coalesce(hourly.first_seq, excluded.first_seq),
        -- A copy of the journal may use lower numbers.
        last_seq = greatest(hourly.last_seq, excluded.last_seq),
        updated_at = excluded.updated_at;
END;
$$;
