-- radmeter.matched_routers(except): the routers of the staged records, by router_key. Not those of the records whose
-- numbers are in `except`.
--   by_mac    the MAC at the head of Called-Station-Id names it: whatever is discovered in this batch, that stays so
--   router_id NULL: it is not known yet. radmeter.discover_routers finds or makes it
--   timezone  the router's own; NULL: the installation's
-- Called by radmeter.unpack_records and radmeter.find_plain. Reads pg_temp.staged, routers.
CREATE OR REPLACE FUNCTION radmeter.matched_routers(p_except bigint[])
RETURNS TABLE (router_key text, router_id bigint, by_mac boolean, timezone text)
LANGUAGE plpgsql ROWS 200 SET search_path = pg_catalog, pg_temp
-- One index lookup for each key, whatever the caller has set.
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH keys AS MATERIALIZED (
        SELECT DISTINCT ON (router_key COLLATE "C")
               router_key, router_mac AS mac, nas_mac, nas_identifier, router_ip AS ip
        FROM pg_temp.staged
        WHERE router_key IS NOT NULL AND seq NOT IN (SELECT unnest(p_except))
        ORDER BY router_key COLLATE "C"
    )
    -- This join is the first rule of match_router. It matches nearly all keys, and a call for each key would take
    -- longer. It also finds the time zone, if the router was not merged into another.
    SELECT router_key, router_id, found_id IS NOT NULL,
           CASE WHEN router_id = found_id THEN found_timezone
                ELSE (SELECT timezone FROM public.routers WHERE id = router_id) END
    FROM (
        SELECT router_key, router.id AS found_id, router.timezone AS found_timezone,
               coalesce(router.merged_into, router.id,
                        radmeter.match_router(keys.mac, nas_mac, keys.nas_identifier, ip)) AS router_id
        FROM keys LEFT JOIN public.routers AS router ON router.mac = keys.mac
        OFFSET 0) AS found;  -- OFFSET 0: match_router is called once, not once for each column that uses its result
END;
$$;
