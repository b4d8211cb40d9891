-- radmeter.discover_routers(): routers for the records of a batch in which one names a router not seen before.
-- Packet by packet, in their order, since a router that one discovers is known to those after it. Rare: once a router.
-- Called by radmeter.unpack_records only. Writes routers, pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.discover_routers() RETURNS void
LANGUAGE plpgsql
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
