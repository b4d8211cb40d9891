-- radmeter.match_router(mac, nas_mac, nas_identifier, ip): the router that sent a packet, by equality on an index.
-- In this order: the MAC at the head of Called-Station-Id; NAS-Identifier where it is a MAC; NAS-Identifier by name, if
-- exactly one router has it; the address, if exactly one router has it; a router discovered before by the same key.
-- Returns routers.id, or NULL for a router not seen before. Reads routers.
-- A router that was only discovered never lends its name or address to a packet that shows another MAC: the factory
-- names and addresses of hotspot routers are all alike.
CREATE OR REPLACE FUNCTION radmeter.match_router(
    p_mac macaddr, p_nas_mac macaddr, p_nas_identifier text, p_ip inet) RETURNS bigint
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_ids bigint[];
    v_id bigint;
BEGIN
    SELECT id INTO v_id FROM public.routers WHERE mac = p_mac;
    IF FOUND THEN RETURN v_id; END IF;
    SELECT id INTO v_id FROM public.routers WHERE mac = p_nas_mac;
    IF FOUND THEN RETURN v_id; END IF;

    IF p_nas_identifier IS NOT NULL THEN
        v_ids := ARRAY(SELECT id FROM public.routers
                       WHERE nas_identifier = p_nas_identifier AND status = 'active' LIMIT 2);
        IF cardinality(v_ids) = 1 THEN RETURN v_ids[1]; END IF;
        SELECT id INTO v_id FROM public.routers WHERE name = p_nas_identifier AND status = 'active';
        IF FOUND THEN RETURN v_id; END IF;
        IF p_mac IS NULL AND p_nas_mac IS NULL THEN
            v_ids := ARRAY(SELECT id FROM public.routers
                           WHERE nas_identifier = p_nas_identifier AND status = 'discovered' LIMIT 2);
            IF cardinality(v_ids) = 1 THEN RETURN v_ids[1]; END IF;
        END IF;
    END IF;

    v_ids := ARRAY(SELECT id FROM public.routers WHERE ip_address = p_ip AND status = 'active' LIMIT 2);
    IF cardinality(v_ids) = 1 THEN RETURN v_ids[1]; END IF;

    RETURN (SELECT id FROM public.routers
            WHERE discovery_key = radmeter.discovery_key(p_mac, p_nas_mac, p_nas_identifier, p_ip));
END;
$$;
