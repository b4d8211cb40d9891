-- radmeter.merge_assignments(from, into): gives router `into` the tenants that router `from` had before the first day on which
-- `into` was assigned itself: all of them if it never was. Those of `from` stay as they are.
-- Called by radmeter.merge_router, which has locked both. Writes radmeter.router_tenant.
-- SQLSTATE RM001: the usage of `from` on a day would become another tenant's.
CREATE OR REPLACE FUNCTION radmeter.merge_assignments(p_from bigint, p_into bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_first date := coalesce((SELECT min(from_day) FROM radmeter.router_tenant WHERE router_id = p_into), 'infinity');
    v_day record;
BEGIN
    SELECT usage.usage_date, mine.tenant_id, owner.name AS tenant, coalesce(other.name, 'nobody') AS other
    INTO v_day
    FROM public.router_daily_usage AS usage
    CROSS JOIN LATERAL (
        SELECT tenant_id FROM radmeter.router_tenant
        WHERE router_id = p_from AND from_day <= usage.usage_date ORDER BY from_day DESC LIMIT 1) AS mine
    CROSS JOIN LATERAL (
        SELECT tenant_id FROM radmeter.router_tenant
        WHERE router_id = p_into AND from_day <= usage.usage_date ORDER BY from_day DESC LIMIT 1) AS theirs
    JOIN radmeter.tenants AS owner ON owner.id = mine.tenant_id
    LEFT JOIN radmeter.tenants AS other ON other.id = theirs.tenant_id
    WHERE usage.router_id = p_from AND (usage.bytes_in <> 0 OR usage.bytes_out <> 0)
      AND theirs.tenant_id IS DISTINCT FROM mine.tenant_id
    ORDER BY usage.usage_date LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'on % router #% has usage of tenant "%", and #% belongs to %: assign one of them to the tenant of the '
            'other from that day on, with "radmeter routers assign ''#%'' --tenant .. --from %"', v_day.usage_date, p_from,
            v_day.tenant, p_into, v_day.other, p_from, v_day.usage_date USING ERRCODE = 'RM001';
    END IF;
    INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id)
    SELECT p_into, from_day, tenant_id FROM radmeter.router_tenant WHERE router_id = p_from AND from_day < v_first;
END;
$$;
