-- radmeter.claim_router(id, name, mac, nas_identifier, ip_address, timezone): makes a discovered router an active one.
-- A value that is NULL stays as it was discovered. The router keeps its usage. Writes routers, audit_log.
-- SQLSTATE RM001, with the reason: there is no such router, it is not a discovered one, or another router has the name
-- or the MAC.
CREATE OR REPLACE FUNCTION radmeter.claim_router(
    p_id bigint, p_name text, p_mac macaddr, p_nas_identifier text, p_ip_address inet, p_timezone text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_router public.routers%ROWTYPE;
    v_other public.routers%ROWTYPE;
BEGIN
    SELECT * INTO v_router FROM public.routers WHERE id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no router #%', p_id USING ERRCODE = 'RM001';
    ELSIF v_router.status <> 'discovered' THEN
        RAISE EXCEPTION 'router #% "%" is % already: only a discovered router can be claimed',
            p_id, v_router.name, v_router.status USING ERRCODE = 'RM001';
    END IF;
    SELECT * INTO v_other FROM public.routers
    WHERE name = coalesce(p_name, v_router.name) AND status <> 'discovered';
    IF FOUND THEN
        RAISE EXCEPTION 'the name "%" is taken by the % router #%: choose another with --name',
            v_other.name, v_other.status, v_other.id USING ERRCODE = 'RM001';
    END IF;
    SELECT * INTO v_other FROM public.routers WHERE mac = p_mac AND id <> p_id;
    IF FOUND THEN
        RAISE EXCEPTION 'the MAC % belongs to the % router #% "%"', p_mac, v_other.status, v_other.id, v_other.name
            USING ERRCODE = 'RM001';
    END IF;
    IF NOT radmeter.is_time_zone(p_timezone) THEN
        RAISE EXCEPTION 'time zone "%" not recognized', p_timezone USING ERRCODE = 'RM001';
    END IF;
    UPDATE public.routers SET
        status = 'active',
        name = coalesce(p_name, name),
        mac = coalesce(p_mac, mac),
        nas_identifier = coalesce(p_nas_identifier, nas_identifier),
        ip_address = coalesce(p_ip_address, ip_address),
        timezone = coalesce(p_timezone, timezone),
        updated_at = now()
    WHERE id = p_id;
    PERFORM radmeter.audit('routers claim', jsonb_build_object('before', to_jsonb(v_router),
        'after', (SELECT to_jsonb(router) FROM public.routers AS router WHERE router.id = p_id)));
END;
$$;
