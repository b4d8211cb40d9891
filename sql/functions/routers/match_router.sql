-- radmeter.match_router(mac, nas_mac, nas_identifier, ip): finds the router that sent a packet, by equality on an
-- index. Tries in this order: the MAC at the head of Called-Station-Id; NAS-Identifier if it is a MAC; NAS-Identifier
-- as text, if exactly one router has it; the address, if exactly one router has it; a router discovered before by the
-- same key. A key that found a merged router finds the router that it was merged into.
-- Returns routers.id, or NULL for a router not seen before. Reads routers.
-- A packet with a MAC never finds a discovered router by name or address, because hotspot routers often have the same
-- factory names and addresses.
-- Exactly one router has a key if the first and the last entry of the key in the index mean the same router. So the
-- time does not depend on how many routers have the key.
CREATE OR REPLACE FUNCTION radmeter.match_router(
    p_mac macaddr, p_nas_mac macaddr, p_nas_identifier text, p_ip inet) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
-- A plan that sorts or scans would be good for the few routers of the last ANALYZE, and is kept when a flood discovers
-- thousands.
SET enable_seqscan = off SET enable_sort = off
AS $$
DECLARE
    v_id bigint;
    v_last bigint;
BEGIN
    SELECT coalesce(merged_into, id) INTO v_id FROM public.routers WHERE mac = p_mac;
    IF FOUND THEN RETURN v_id; END IF;
    SELECT coalesce(merged_into, id) INTO v_id FROM public.routers WHERE mac = p_nas_mac;
    IF FOUND THEN RETURN v_id; END IF;

    IF p_nas_identifier IS NOT NULL THEN
        SELECT coalesce(merged_into, id) INTO v_id FROM public.routers
        WHERE nas_identifier = p_nas_identifier AND coalesce(merged_status, status) = 'active'
        ORDER BY coalesce(merged_into, id) LIMIT 1;
        IF FOUND THEN
            SELECT coalesce(merged_into, id) INTO v_last FROM public.routers
            WHERE nas_identifier = p_nas_identifier AND coalesce(merged_status, status) = 'active'
            ORDER BY coalesce(merged_into, id) DESC LIMIT 1;
            IF v_last = v_id THEN RETURN v_id; END IF;
        END IF;
        SELECT coalesce(merged_into, id) INTO v_id FROM public.routers
        WHERE name = p_nas_identifier AND status <> 'discovered' AND coalesce(merged_status, status) = 'active';
        IF FOUND THEN RETURN v_id; END IF;
        IF p_mac IS NULL AND p_nas_mac IS NULL THEN
            SELECT coalesce(merged_into, id) INTO v_id FROM public.routers
            WHERE nas_identifier = p_nas_identifier AND coalesce(merged_status, status) = 'discovered'
            ORDER BY coalesce(merged_into, id) LIMIT 1;
            IF FOUND THEN
                SELECT coalesce(merged_into, id) INTO v_last FROM public.routers
                WHERE nas_identifier = p_nas_identifier AND coalesce(merged_status, status) = 'discovered'
                ORDER BY coalesce(merged_into, id) DESC LIMIT 1;
                IF v_last = v_id THEN RETURN v_id; END IF;
            END IF;
        END IF;
    END IF;

    SELECT coalesce(merged_into, id) INTO v_id FROM public.routers
    WHERE ip_address = p_ip AND coalesce(merged_status, status) = 'active'
    ORDER BY coalesce(merged_into, id) LIMIT 1;
    IF FOUND THEN
        SELECT coalesce(merged_into, id) INTO v_last FROM public.routers
        WHERE ip_address = p_ip AND coalesce(merged_status, status) = 'active'
        ORDER BY coalesce(merged_into, id) DESC LIMIT 1;
        IF v_last = v_id THEN RETURN v_id; END IF;
    END IF;

    RETURN (SELECT coalesce(merged_into, id) FROM public.routers
            WHERE discovery_key = radmeter.discovery_key(p_mac, p_nas_mac, p_nas_identifier, p_ip));
END;
$$;
