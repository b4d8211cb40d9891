-- radmeter.merge_router_sessions(from, radacctids, stops): moves closed sessions of a router that is being merged to the
-- one that it is merged into; the trigger on radacct moves what they counted, each day its own.
--   stops  acctstoptime of each, which names the partition; a session with another stop by now is left for a later batch
-- The caller hands in bounded batches: ingest waits for one of them. Open sessions that were closed when the merge began
-- and were opened again since go along. Returns how many were moved. Writes radacct.
CREATE OR REPLACE FUNCTION radmeter.merge_router_sessions(
    p_from bigint, p_radacctids bigint[], p_stops timestamptz[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- One index lookup a session, in its partition only.
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
