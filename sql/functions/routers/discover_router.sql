-- radmeter.discover_router(mac, nas_mac, nas_identifier, ip): makes a row for a router not seen before, so that its
-- usage is kept from the first packet on. The NOC claims or merges it later.
-- Returns routers.id. Writes routers.
CREATE OR REPLACE FUNCTION radmeter.discover_router(
    p_mac macaddr, p_nas_mac macaddr, p_nas_identifier text, p_ip inet) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key text := radmeter.discovery_key(p_mac, p_nas_mac, p_nas_identifier, p_ip);
    v_id bigint;
BEGIN
    INSERT INTO public.routers (name, mac, nas_identifier, ip_address, status, discovery_key)
    VALUES (coalesce(coalesce(p_mac, p_nas_mac)::text, p_nas_identifier, host(p_ip)),
            coalesce(p_mac, p_nas_mac), p_nas_identifier, p_ip, 'discovered', v_key)
    ON CONFLICT DO NOTHING
    RETURNING id INTO v_id;
    IF NOT FOUND THEN
        SELECT coalesce(merged_into, id) INTO v_id FROM public.routers
        WHERE discovery_key = v_key OR mac = coalesce(p_mac, p_nas_mac);
    END IF;
    RETURN v_id;
END;
$$;
