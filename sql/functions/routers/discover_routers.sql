-- radmeter.discover_routers(): finds or makes the router of each record, in a batch with a router not seen before.
-- What a packet finds can depend on the packets before it, which may have discovered a router with the same MAC or
-- NAS-Identifier. That is rare. The router keys of which it is true are taken packet by packet, in order. All others are
-- discovered in one statement, so that a flood of new keys takes little longer than known ones.
-- Beyond the limit discoveries_per_client_hour the usage goes to radmeter.limit_router of the RADIUS client. An
-- Accounting-On or -Off beyond it leaves the batch, since the sessions there are those of many routers.
-- Called by radmeter.unpack_records only. Writes routers, radmeter.discovery_count, pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.discover_routers() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_in_order text[];
BEGIN
    WITH packet AS MATERIALIZED (
        -- A packet that was matched by the first MAC it shows stays matched, whatever is discovered.
        SELECT radmeter.discovery_key(router_mac, record.nas_mac, record.nas_identifier, router_ip) AS key,
               coalesce(router_mac, record.nas_mac) AS mac, record.nas_mac, record.nas_identifier, client_ip,
               record.router_id
        FROM pg_temp.incoming AS record
        WHERE record.router_id IS NULL
           OR NOT EXISTS (SELECT FROM public.routers WHERE mac = coalesce(router_mac, record.nas_mac))
    ), new_mac AS MATERIALIZED (
        SELECT DISTINCT mac, key FROM packet WHERE mac IS NOT NULL AND router_id IS NULL
    )
    SELECT coalesce(array_agg(DISTINCT key), '{}') INTO v_in_order
    FROM (
        -- Some packets of the key are matched by something else, or several clients have a limit of their own.
        SELECT key FROM packet GROUP BY key
        HAVING count(*) > count(router_id)
           AND (count(router_id) > 0 OR count(DISTINCT coalesce(client_ip, '0.0.0.0')) > 1)
        UNION ALL
        -- A MAC that a router is discovered by is the second one that another key shows.
        SELECT unnest(ARRAY[packet.key, new_mac.key])
        FROM packet JOIN new_mac ON new_mac.mac = packet.nas_mac AND new_mac.key <> packet.key
        UNION ALL
        -- A router is discovered whose NAS-Identifier a packet without a MAC has.
        SELECT packet.key
        FROM packet JOIN (
            SELECT nas_identifier FROM packet WHERE nas_identifier IS NOT NULL GROUP BY nas_identifier
            HAVING bool_or(mac IS NULL) AND bool_or(mac IS NOT NULL AND router_id IS NULL)) AS shared
            USING (nas_identifier)
    ) AS dependent;

    PERFORM radmeter.discover_at_once(v_in_order);
    IF cardinality(v_in_order) > 0 OR EXISTS (SELECT FROM pg_temp.incoming WHERE router_id IS NULL) THEN
        PERFORM radmeter.discover_in_order(v_in_order);
    END IF;
    DELETE FROM pg_temp.incoming WHERE router_id IS NULL;
END;
$$;
