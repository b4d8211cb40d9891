-- radmeter.backfill_routers(pairs): finds the routers of adopted sessions from their rows.
--   pairs  JSON array of {"calledstationid", "nasipaddress", "mac"}: the first two as in the rows ("" for none), and the
--          MAC at the start of calledstationid, if there is one. At most some hundreds, since ingest waits meanwhile
-- A router is matched like a packet's router, else discovered. A pair that is known stays. Returns how many were new.
-- Takes the lock of radmeter.ingest, so that no router is merged meanwhile. Writes radmeter.adopted_router, routers.
CREATE OR REPLACE FUNCTION radmeter.backfill_routers(p_pairs json) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_pair record;
    v_id bigint;
    v_new integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    FOR v_pair IN
        SELECT pair.* FROM json_to_recordset(p_pairs) AS pair (calledstationid text, nasipaddress inet, mac macaddr)
        WHERE NOT EXISTS (SELECT FROM radmeter.adopted_router AS known
                          WHERE known.calledstationid = pair.calledstationid
                            AND known.nasipaddress = pair.nasipaddress)
        ORDER BY calledstationid, nasipaddress
    LOOP
        v_id := coalesce(radmeter.match_router(v_pair.mac, NULL, NULL, v_pair.nasipaddress),
                         radmeter.discover_router(v_pair.mac, NULL, NULL, v_pair.nasipaddress));
        INSERT INTO radmeter.adopted_router (calledstationid, nasipaddress, router_id, timezone)
        SELECT v_pair.calledstationid, v_pair.nasipaddress, v_id,
               coalesce(router.timezone, backfill.timezone, radmeter.setting_value('timezone'))
        FROM public.routers AS router LEFT JOIN radmeter.backfill ON true WHERE router.id = v_id
        ON CONFLICT DO NOTHING;
        v_new := v_new + 1;
    END LOOP;
    RETURN v_new;
END;
$$;
