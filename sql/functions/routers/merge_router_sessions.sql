-- radmeter.merge_router_sessions(from, radacctids, stops): moves closed sessions of a router under merge to the router
-- that it is merged into. The trigger on radacct moves their usage, day by day.
--   stops  acctstoptime of each session, which tells its partition. A session whose stop has changed since is skipped;
--          a later batch has it.
-- The caller passes batches of bounded size, because ingest waits for each. Sessions that were closed when the merge
-- began and have been reopened since are moved too. Returns how many were moved. Writes radacct.
CREATE OR REPLACE FUNCTION radmeter.merge_router_sessions(
    p_from bigint, p_radacctids bigint[], p_stops timestamptz[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- One index lookup for each session, in its partition only.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
    v_into bigint;
    v_open integer;
    v_closed integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    v_into := (SELECT merged_into FROM public.routers WHERE id = p_from);
    IF v_into IS NULL THEN
        RAISE EXCEPTION 'router #% is not being merged', p_from USING ERRCODE = 'RM001';
    END IF;
    UPDATE public.radacct SET router_id = v_into WHERE router_id = p_from AND acctstoptime IS NULL;
    GET DIAGNOSTICS v_open = ROW_COUNT;
    UPDATE public.radacct AS session SET router_id = v_into
    FROM unnest(p_radacctids, p_stops) AS found (radacctid, acctstoptime)
    WHERE session.radacctid = found.radacctid AND session.acctstoptime = found.acctstoptime
      AND session.router_id = p_from;
    GET DIAGNOSTICS v_closed = ROW_COUNT;
    RETURN v_open + v_closed;
END;
$$;
