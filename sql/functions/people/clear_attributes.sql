-- radmeter.clear_attributes(radacctids, stops): clears the personal attributes of closed sessions: calling station id,
-- framed addresses, connect info and class. The user name stays: usage and invoices need it.
--   stops  acctstoptime of each session, which tells its partition
-- The caller passes batches of bounded size. Rows that another writer holds are left for the next run, so that nobody
-- deadlocks. Returns how many were cleared. Writes radacct.
CREATE OR REPLACE FUNCTION radmeter.clear_attributes(p_radacctids bigint[], p_stops timestamptz[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
    v_cleared integer;
BEGIN
    WITH held AS MATERIALIZED (
        SELECT session.radacctid, session.acctstoptime
        FROM unnest(p_radacctids, p_stops) AS found (radacctid, acctstoptime)
        JOIN public.radacct AS session
            ON session.radacctid = found.radacctid AND session.acctstoptime = found.acctstoptime
        ORDER BY session.radacctid
        FOR UPDATE OF session SKIP LOCKED
    )
    UPDATE public.radacct AS session SET
        connectinfo_start = NULL, connectinfo_stop = NULL, callingstationid = NULL,
        framedipaddress = NULL, framedipv6address = NULL, framedipv6prefix = NULL, framedinterfaceid = NULL,
        delegatedipv6prefix = NULL, class = NULL
    FROM held
    WHERE session.radacctid = held.radacctid AND session.acctstoptime = held.acctstoptime;
    GET DIAGNOSTICS v_cleared = ROW_COUNT;
    RETURN v_cleared;
END;
$$;
