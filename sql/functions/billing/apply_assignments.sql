-- radmeter.apply_assignments(): sets routers.tenant_id to the tenant of today, in each router's time zone. A router that was
-- never assigned stays as it is.
-- Called by radmeter.assign_router, radmeter.merge_router, and by the jobs in each round. Takes the lock of radmeter.ingest
-- only if a router changes hands.
-- Returns how many did. Writes routers.
CREATE OR REPLACE FUNCTION radmeter.apply_assignments() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_changed bigint := 0;
    v_ids bigint[] := ARRAY(
        SELECT router.id FROM radmeter.tenants_today(NULL) AS today JOIN public.routers AS router ON router.id = today.router_id
        WHERE router.tenant_id IS DISTINCT FROM today.tenant_id);
BEGIN
    IF v_ids <> '{}' THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
        PERFORM FROM public.routers WHERE id = ANY (v_ids) ORDER BY id FOR UPDATE;
        UPDATE public.routers AS router SET tenant_id = today.tenant_id, updated_at = now()
        FROM radmeter.tenants_today(v_ids) AS today
        WHERE router.id = today.router_id AND router.tenant_id IS DISTINCT FROM today.tenant_id;
        GET DIAGNOSTICS v_changed = ROW_COUNT;
    END IF;
    RETURN v_changed;
END;
$$;
