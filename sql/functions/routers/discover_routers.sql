-- radmeter.discover_routers(): finds or makes the router of each record, in a batch with a router not seen before.
-- Works packet by packet, in order, since a later packet may find the router that an earlier one has discovered. This
-- is rare: once for each router.
-- Called by radmeter.unpack_records only. Writes routers, pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.discover_routers() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_packet record;
    v_id bigint;
BEGIN
    FOR v_packet IN SELECT ctid, * FROM pg_temp.incoming ORDER BY seq LOOP
        v_id := coalesce(
            radmeter.match_router(v_packet.router_mac, v_packet.nas_mac, v_packet.nas_identifier, v_packet.router_ip),
            radmeter.discover_router(v_packet.router_mac, v_packet.nas_mac, v_packet.nas_identifier,
                                     v_packet.router_ip));
        IF v_id IS DISTINCT FROM v_packet.router_id THEN
            UPDATE pg_temp.incoming SET router_id = v_id, usage_date = radmeter.usage_date(v_id, event_time)
            WHERE ctid = v_packet.ctid;
        END IF;
    END LOOP;
END;
$$;
