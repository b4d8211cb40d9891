-- radmeter.discover_in_order(keys): finds or makes the router of each record with one of the discovery keys, or without
-- a router, in the order of the records.
-- Beyond the limit discoveries_per_client_hour a record gets the limit router; an Accounting-On or -Off gets none.
-- Called by radmeter.discover_routers only. Writes routers, radmeter.discovery_count, pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.discover_in_order(p_keys text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_packet record;
    v_id bigint;
    v_client text;
    v_left jsonb := '{}';     -- by client: how many routers it can still discover; null: no limit
    v_clients text[] := '{}'; -- for each packet that found no router: the client,
    v_beyond text[] := '{}';  -- and the key, if it is beyond the limit
BEGIN
    FOR v_packet IN
        SELECT record.ctid, record.*, named.key
        FROM pg_temp.incoming AS record,
            LATERAL (SELECT radmeter.discovery_key(router_mac, nas_mac, nas_identifier, router_ip) AS key) AS named
        WHERE record.router_id IS NULL OR named.key IN (SELECT unnest(p_keys))
        ORDER BY seq
    LOOP
        v_id := radmeter.match_router(v_packet.router_mac, v_packet.nas_mac, v_packet.nas_identifier,
                                      v_packet.router_ip);
        IF v_id IS NULL THEN
            v_client := radmeter.discovery_client(v_packet.client_ip);
            IF NOT v_left ? v_client THEN
                v_left := v_left || jsonb_build_object(v_client, radmeter.discoveries_left(v_client));
            END IF;
            v_clients := v_clients || v_client;
            IF (v_left ->> v_client)::bigint = 0 THEN
                v_beyond := v_beyond || v_packet.key;
                v_id := CASE WHEN v_packet.round IS NOT NULL THEN radmeter.limit_router(v_client) END;
            ELSE
                v_beyond := v_beyond || NULL::text;
                v_left := v_left || jsonb_build_object(v_client, (v_left ->> v_client)::bigint - 1);
                v_id := radmeter.discover_router(v_packet.router_mac, v_packet.nas_mac, v_packet.nas_identifier,
                                                 v_packet.router_ip);
            END IF;
        END IF;
        IF v_id IS DISTINCT FROM v_packet.router_id THEN
            UPDATE pg_temp.incoming SET router_id = v_id, usage_date = radmeter.usage_date(v_id, event_time)
            WHERE ctid = v_packet.ctid;
        END IF;
    END LOOP;
    PERFORM radmeter.note_discoveries(client, count(*) - count(key), array_remove(array_agg(key), NULL))
    FROM unnest(v_clients, v_beyond) AS taken (client, key) GROUP BY client;
END;
$$;
