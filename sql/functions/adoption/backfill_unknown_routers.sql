-- radmeter.backfill_unknown_routers(first, end): Called-Station-Id and NAS-IP-Address of the adopted sessions with ids
-- from first to before end whose router is not in radmeter.adopted_router.
-- Reads radacct, radmeter.adoption_baseline, radmeter.adopted_router.
CREATE OR REPLACE FUNCTION radmeter.backfill_unknown_routers(p_first bigint, p_end bigint)
RETURNS TABLE (calledstationid text, nasipaddress inet)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
    SELECT seen.* FROM (
        SELECT DISTINCT coalesce(first.calledstationid, session.calledstationid, ''),
                        coalesce(first.nasipaddress, session.nasipaddress)
        FROM public.radacct AS session
        LEFT JOIN radmeter.adoption_baseline AS first ON first.radacctid = session.radacctid
        WHERE session.radacctid >= p_first AND session.radacctid < p_end AND session.adopted
    ) AS seen (calledstationid, nasipaddress)
    LEFT JOIN radmeter.adopted_router AS known USING (calledstationid, nasipaddress)
    WHERE known.router_id IS NULL;
$$;
