-- radmeter.discover_at_once(in_order): makes the routers of the batch's unknown discovery keys in one statement, except
-- for the keys in_order. A router gets the attributes of the first packet of its key.
-- Beyond the limit discoveries_per_client_hour the records get the limit router, and an Accounting-On or -Off is deleted.
-- A record keeps router_id NULL if somebody has registered its router meanwhile.
-- Called by radmeter.discover_routers only. Writes routers, radmeter.discovery_count, pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.discover_at_once(p_in_order text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_clients text[];  -- for each key: the client,
    v_beyond text[];   -- and the key, if it is beyond the limit
BEGIN
    WITH packet AS MATERIALIZED (
        SELECT seq, router_mac, nas_mac, nas_identifier, router_ip, client_ip,
               radmeter.discovery_key(router_mac, nas_mac, nas_identifier, router_ip) AS key
        FROM pg_temp.incoming WHERE router_id IS NULL
    ), first AS MATERIALIZED (
        SELECT DISTINCT ON (key) * FROM packet
        WHERE NOT EXISTS (SELECT FROM unnest(p_in_order) AS later (key) WHERE later.key = packet.key)
        ORDER BY key, seq
    ), client AS MATERIALIZED (
        SELECT ip, name, radmeter.discoveries_left(name) AS discoveries_left
        FROM (SELECT ip, radmeter.discovery_client(ip) AS name
              FROM (SELECT DISTINCT client_ip AS ip FROM first) AS seen OFFSET 0) AS named
    ), judged AS MATERIALIZED (
        SELECT first.*, client.name AS client,
               coalesce(row_number() OVER (PARTITION BY client.name ORDER BY first.seq) > discoveries_left, false)
                   AS beyond
        FROM first JOIN client ON client.ip IS NOT DISTINCT FROM first.client_ip
    ), made AS (
        INSERT INTO public.routers AS router (name, mac, nas_identifier, ip_address, status, discovery_key)
        SELECT coalesce(coalesce(router_mac, nas_mac)::text, nas_identifier, host(router_ip)),
               coalesce(router_mac, nas_mac), nas_identifier, router_ip, 'discovered', key
        FROM judged WHERE NOT beyond ORDER BY seq
        ON CONFLICT DO NOTHING
        RETURNING router.id, router.discovery_key
    ), updated AS (
        -- A router that was just made has no time zone of its own, so the day is right already.
        UPDATE pg_temp.incoming AS record SET router_id = made.id
        FROM packet JOIN made ON made.discovery_key = packet.key
        WHERE record.seq = packet.seq
    )
    SELECT array_agg(client), array_agg(CASE WHEN beyond THEN key END) INTO v_clients, v_beyond FROM judged;

    PERFORM radmeter.note_discoveries(client, count(*) - count(key), array_remove(array_agg(key), NULL))
    FROM unnest(v_clients, v_beyond) AS judged (client, key) GROUP BY client;

    IF EXISTS (SELECT FROM unnest(v_beyond) AS key WHERE key IS NOT NULL) THEN
        DELETE FROM pg_temp.incoming AS record USING unnest(v_beyond) AS beyond (key)
        WHERE record.router_id IS NULL AND record.round IS NULL
          AND radmeter.discovery_key(router_mac, nas_mac, nas_identifier, router_ip) = beyond.key;
        WITH packet AS MATERIALIZED (
            SELECT record.seq, beyond.client
            FROM pg_temp.incoming AS record
            JOIN unnest(v_clients, v_beyond) AS beyond (client, key)
                ON radmeter.discovery_key(router_mac, nas_mac, nas_identifier, router_ip) = beyond.key
            WHERE record.router_id IS NULL
        ), gathered AS MATERIALIZED (
            SELECT client, radmeter.limit_router(client) AS id FROM (SELECT DISTINCT client FROM packet) AS beyond
        )
        UPDATE pg_temp.incoming AS record SET
            router_id = gathered.id, usage_date = radmeter.usage_date(gathered.id, record.event_time)
        FROM packet JOIN gathered USING (client)
        WHERE record.seq = packet.seq;
    END IF;
END;
$$;
