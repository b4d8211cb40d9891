-- radmeter.change_router(id, changes, keep_mac): changes a router's keys, time zone, RADIUS clients, plausible rate or site.
--   changes   JSON object of mac, nas_identifier, ip_address, timezone, plausible_mbit_per_second, site, and clients,
--             an array of addresses and networks; null clears a value, an absent one stays
--   keep_mac  true: packets with the old MAC still find this router; false: the old MAC may become another router's
-- The router keeps its usage, and each counted octet keeps its date. Later usage is dated in the new time zone.
-- The new MAC may be that of a router that was merged into this one.
-- Takes the lock of radmeter.ingest, which reads MACs. Returns whether anything changed. Writes routers, audit_log.
-- SQLSTATE RM001, with the reason: there is no such router, or another router has the MAC, or a router with the MAC was
-- discovered and must be merged first.
CREATE OR REPLACE FUNCTION radmeter.change_router(p_id bigint, p_changes jsonb, p_keep_mac boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_router public.routers%ROWTYPE;
    v_new public.routers%ROWTYPE;
    v_other public.routers%ROWTYPE;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    SELECT * INTO v_router FROM public.routers WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no router #%', p_id USING ERRCODE = 'RM001';
    END IF;
    v_new := jsonb_populate_record(v_router, p_changes - ARRAY(
        SELECT key FROM jsonb_object_keys(p_changes) AS key
        WHERE key NOT IN ('mac', 'nas_identifier', 'ip_address', 'timezone', 'clients', 'plausible_mbit_per_second',
                          'site')));
    IF v_new IS NOT DISTINCT FROM v_router THEN
        RETURN false;
    END IF;
    IF v_new.timezone IS DISTINCT FROM v_router.timezone AND NOT radmeter.is_time_zone(v_new.timezone) THEN
        RAISE EXCEPTION 'time zone "%" not recognized', v_new.timezone USING ERRCODE = 'RM001';
    END IF;
    IF v_new.mac IS DISTINCT FROM v_router.mac THEN
        SELECT * INTO v_other FROM public.routers WHERE mac = v_new.mac FOR UPDATE;
        IF v_other.status = 'discovered' THEN
            RAISE EXCEPTION 'the MAC % was discovered as #% and has usage: first "radmeter routers merge ''#%'' ''#%''"',
                v_new.mac, v_other.id, v_other.id, p_id USING ERRCODE = 'RM001';
        ELSIF v_other.id IS NOT NULL AND v_other.merged_into IS DISTINCT FROM p_id THEN
            RAISE EXCEPTION 'the MAC % belongs to the % router #% "%"', v_new.mac, v_other.status, v_other.id,
                v_other.name USING ERRCODE = 'RM001';
        END IF;
        UPDATE public.routers SET mac = NULL, updated_at = now() WHERE id = v_other.id;
        UPDATE public.routers SET discovery_key = NULL
        WHERE (id = p_id OR merged_into = p_id) AND NOT p_keep_mac
          AND discovery_key = radmeter.discovery_key(v_router.mac, NULL, NULL, NULL);
    END IF;
    UPDATE public.routers SET
        mac = v_new.mac, nas_identifier = v_new.nas_identifier, ip_address = v_new.ip_address,
        timezone = v_new.timezone, clients = v_new.clients,
        plausible_mbit_per_second = v_new.plausible_mbit_per_second, site = v_new.site, updated_at = now()
    WHERE id = p_id;
    IF p_keep_mac AND v_router.mac IS DISTINCT FROM v_new.mac AND v_router.mac IS NOT NULL THEN
        IF v_other.id IS NOT NULL THEN
            UPDATE public.routers SET mac = v_router.mac WHERE id = v_other.id;
        ELSE
            INSERT INTO public.routers (name, mac, status, merged_into, merged_status, merged_at)
            VALUES (format('%s (%s)', v_router.name, v_router.mac), v_router.mac, 'retired', p_id, 'retired', now());
        END IF;
    END IF;
    PERFORM radmeter.audit('routers set', jsonb_build_object(
        'before', to_jsonb(v_router),
        'after', (SELECT to_jsonb(router) FROM public.routers AS router WHERE id = p_id),
        'keep_mac', p_keep_mac));
    RETURN true;
END;
$$;
