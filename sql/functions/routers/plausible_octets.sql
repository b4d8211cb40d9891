-- radmeter.plausible_octets(router_id, seconds): the most octets that a user of a router can have used in a direction in so
-- many seconds: routers.plausible_mbit_per_second, else the limit of that name.
-- Returns numeric: bigint would overflow for high rates. Infinity if the limit is off. Reads routers, radmeter.setting.
-- Called only for packets that look like a wrap or a new session, so it may take its time.
CREATE OR REPLACE FUNCTION radmeter.plausible_octets(p_router_id bigint, p_seconds bigint) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT plausible_mbit_per_second FROM public.routers WHERE id = p_router_id),
                    radmeter.limit_value('plausible_mbit_per_second'), 'Infinity'::numeric) * 125000 * p_seconds;
$$;
