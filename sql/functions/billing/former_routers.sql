-- radmeter.former_routers(): the routers that were the current tenant's and are it no longer. A former tenant's documents
-- and days name them, so it sees their names and MACs. It does not see where they are now, who may speak for them, or
-- whose they are. Who is no tenant's login sees none here: the table has them all.
-- Called by the view router_list. Reads routers, radmeter.router_tenant.
CREATE OR REPLACE FUNCTION radmeter.former_routers()
RETURNS TABLE (id bigint, name text, mac macaddr, status text, timezone text, created_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE COST 10 ROWS 1 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_tenant bigint := radmeter.current_tenant();
BEGIN
    IF v_tenant IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT router.id, router.name::text, router.mac, router.status::text, router.timezone::text, router.created_at
    FROM public.routers AS router
    WHERE router.tenant_id IS DISTINCT FROM v_tenant
      -- Not one that is to become the tenant's.
      AND router.id IN (SELECT own.router_id FROM radmeter.router_tenant AS own
                        WHERE own.tenant_id = v_tenant
                          AND own.from_day <= (now() AT TIME ZONE coalesce(router.timezone, radmeter.setting_value('timezone')))::date);
END;
$$;
