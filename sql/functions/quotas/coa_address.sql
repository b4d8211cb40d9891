-- radmeter.coa_address(router_id): where Disconnect- and CoA-Requests to a router go. The first that is known of: the
-- address that was set for requests (radmeter.router_coa), where its packets come from (only a
-- client to which the router is bound, if it is), its own (routers.ip_address), the
-- NAS-IP-Address of its latest open session. NULL: none is.
-- Called by the view radmeter.router_requests, by the worker that sends requests, and by `radmeter routers test-coa`.
CREATE OR REPLACE FUNCTION radmeter.coa_address(p_router_id bigint) RETURNS inet
LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT address FROM radmeter.router_coa WHERE router_id = p_router_id),
        -- It may have been noted before the router was bound to its clients.
        (SELECT known.packets_from FROM radmeter.router_coa_state AS known
         JOIN public.routers AS router ON router.id = known.router_id
         WHERE known.router_id = p_router_id AND radmeter.may_name_router(known.packets_from, router.clients)),
        (SELECT ip_address FROM public.routers WHERE id = p_router_id),
        (SELECT nullif(nasipaddress, '0.0.0.0') FROM public.radacct
         WHERE router_id = p_router_id AND acctstoptime IS NULL ORDER BY acctstarttime DESC LIMIT 1));
$$;
