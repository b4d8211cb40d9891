-- radmeter.bound_keys(): the keys by which a packet finds a bound router (routers.clients), or a router merged into one.
--   bound_id  the bound router
--   key       'mac:', 'nas:' or 'ip:', and the value; or a discovery_key
--   is_own    no other router can have it
-- A discovered router lends its name and address to no packet that finds another.
-- Called by radmeter.refuse_unbelieved and radmeter.find_plain. Reads routers.
CREATE OR REPLACE FUNCTION radmeter.bound_keys() RETURNS TABLE (bound_id bigint, key text, is_own boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT bound_id, named.*
    FROM (SELECT router.*, router.id AS bound_id FROM public.routers AS router WHERE clients IS NOT NULL
          UNION ALL
          SELECT router.*, bound.id
          FROM public.routers AS bound JOIN public.routers AS router ON router.merged_into = bound.id
          WHERE bound.clients IS NOT NULL) AS place,
        LATERAL (
            VALUES ('mac:' || mac, true)
            UNION ALL
            SELECT lent.*
            FROM (VALUES ('nas:' || nas_identifier, false), ('nas:' || name, false), ('ip:' || host(ip_address), false),
                         (discovery_key, true)) AS lent (key, is_own)
            WHERE coalesce(merged_status, status) <> 'discovered') AS named (key, is_own)
    WHERE named.key IS NOT NULL;
$$;
