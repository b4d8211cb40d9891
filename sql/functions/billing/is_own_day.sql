-- radmeter.is_own_day(router_id, day): whether the router was the current tenant's on a day of the router's zone.
-- The tenant does not see the rows of router_tenant that end its time, so the policy cannot look itself.
-- Called by the policies and by the view tenant_sessions. Reads radmeter.router_tenant.
CREATE OR REPLACE FUNCTION radmeter.is_own_day(p_router_id bigint, p_day date) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE COST 1000 SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((SELECT tenant_id FROM radmeter.router_tenant WHERE router_id = p_router_id AND from_day <= p_day
                     ORDER BY from_day DESC LIMIT 1) = radmeter.current_tenant(), false);
END;
$$;
