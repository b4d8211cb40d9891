-- radmeter.tenants_today(ids): to whom routers belong today, in their time zones, by their assignments. A router that was
-- never assigned is not in it.
--   ids  NULL: all routers
-- Called by radmeter.apply_assignments. Reads radmeter.router_tenant, routers.
CREATE OR REPLACE FUNCTION radmeter.tenants_today(p_ids bigint[]) RETURNS TABLE (router_id bigint, tenant_id bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT router.id, (array_agg(mine.tenant_id ORDER BY mine.from_day DESC) FILTER (
               WHERE mine.from_day
                     <= (now() AT TIME ZONE coalesce(router.timezone, (SELECT radmeter.setting_value('timezone'))))::date))[1]
    FROM radmeter.router_tenant AS mine JOIN public.routers AS router ON router.id = mine.router_id
    WHERE p_ids IS NULL OR router.id = ANY (p_ids)
    GROUP BY router.id;
$$;
