-- radmeter.note_networks(): notes the networks from which the records of the batch name their routers, if they are new
-- or were noted more than an hour ago. A router has at most 8: further ones are not noted until one is 2 days old.
-- If nothing came from a network for 6 hours, it begins anew: the address of a DSL site may come back.
-- Called by radmeter.unpack_records only, and only if the shipper has marked a record (new_client).
-- It also notes the latest client of each router: Disconnect- and CoA-Requests go there if no address is set. Not that of
-- packets that came more than an hour ago, as from a detail file.
-- Writes radmeter.router_network, router_coa_state.
CREATE OR REPLACE FUNCTION radmeter.note_networks() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM radmeter.router_network
    WHERE router_id IN (SELECT router_id FROM pg_temp.incoming) AND last_seen < now() - interval '2 days';

    WITH seen AS MATERIALIZED (
        SELECT router_id, radmeter.client_network(client_ip) AS network,
               least(min(received_at), now()) AS first_seen, least(max(received_at), now()) AS last_seen
        FROM pg_temp.incoming WHERE client_ip IS NOT NULL AND router_id IS NOT NULL
        GROUP BY 1, 2
    ), noted AS (
        UPDATE radmeter.router_network AS known SET
            first_seen = CASE WHEN seen.first_seen > known.last_seen + interval '6 hours' THEN seen.first_seen
                              ELSE known.first_seen END,
            last_seen = seen.last_seen
        FROM seen
        WHERE known.router_id = seen.router_id AND known.network = seen.network
          AND known.last_seen < seen.last_seen - interval '1 hour'
    )
    INSERT INTO radmeter.router_network (router_id, network, first_seen, last_seen)
    SELECT router_id, network, first_seen, last_seen
    FROM (SELECT seen.*, row_number() OVER (PARTITION BY router_id ORDER BY seen.first_seen, network) AS number
          FROM seen
          WHERE NOT EXISTS (SELECT FROM radmeter.router_network AS known
                            WHERE known.router_id = seen.router_id AND known.network = seen.network)) AS new
    WHERE number + (SELECT count(*) FROM radmeter.router_network AS known WHERE known.router_id = new.router_id) <= 8;

    INSERT INTO radmeter.router_coa_state AS known (router_id, packets_from)
    SELECT DISTINCT ON (router_id) router_id, client_ip FROM pg_temp.incoming
    WHERE client_ip IS NOT NULL AND router_id IS NOT NULL AND received_at > now() - interval '1 hour'
    ORDER BY router_id, received_at DESC
    ON CONFLICT (router_id) DO UPDATE SET packets_from = excluded.packets_from
    WHERE known.packets_from IS DISTINCT FROM excluded.packets_from;
END;
$$;
