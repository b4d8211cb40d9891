-- radmeter.assigned_until(router_id, from_day): the first day on which a router that became the current tenant's on a day
-- is another one's. NULL: it goes on, or the assignment is not this tenant's. Who is no tenant's login sees the table.
-- The tenant does not see the rows of router_tenant that end its time, so its login cannot look itself.
-- Called by `radmeter tenants show`. Reads radmeter.router_tenant.
CREATE OR REPLACE FUNCTION radmeter.assigned_until(p_router_id bigint, p_from_day date) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT min(later.from_day)
    FROM radmeter.router_tenant AS own
    JOIN radmeter.router_tenant AS later ON later.router_id = own.router_id AND later.from_day > own.from_day
    WHERE own.router_id = p_router_id AND own.from_day = p_from_day AND own.tenant_id = radmeter.current_tenant();
$$;
