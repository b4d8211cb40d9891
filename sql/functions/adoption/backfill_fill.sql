-- radmeter.backfill_fill(first, end): fills in router_id of the adopted sessions with ids from first to before end.
-- The history of these sessions is counted for the same router, so it does not move. What packets added since the
-- adoption without a better name of the router begins to count for it now. The trigger on radacct does both.
-- Rows that another writer has locked are left out, so nobody deadlocks. The range is marked as filled when none is left.
-- Returns how many were filled, how many are left, and how many have an unknown router. These are not filled.
-- Writes radacct, radmeter.backfill.
CREATE OR REPLACE FUNCTION radmeter.backfill_fill(
    p_first bigint, p_end bigint, OUT filled bigint, OUT left_over bigint, OUT unknown bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_ids bigint[];
BEGIN
    -- A merge that is about to end reads the last sessions of its router. The lock keeps it from doing so while sessions
    -- get that router here.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('radmeter.adopted_router', 0));
    SELECT array_agg(radacctid) INTO v_ids FROM (
        SELECT session.radacctid FROM public.radacct AS session
        WHERE session.radacctid >= p_first AND session.radacctid < p_end
          AND session.adopted AND session.router_id IS NULL
        ORDER BY session.radacctid FOR UPDATE SKIP LOCKED) AS held;
    UPDATE public.radacct AS session SET router_id = coalesce(first.router_id, known.router_id)
    FROM unnest(v_ids) AS held (radacctid)
    LEFT JOIN radmeter.adoption_baseline AS first ON first.radacctid = held.radacctid
    CROSS JOIN radmeter.adopted_router AS known
    WHERE session.radacctid = held.radacctid AND session.radacctid >= p_first AND session.radacctid < p_end
      AND known.calledstationid = coalesce(first.calledstationid, session.calledstationid, '')
      AND known.nasipaddress = coalesce(first.nasipaddress, session.nasipaddress);
    GET DIAGNOSTICS filled = ROW_COUNT;
    unknown := coalesce(cardinality(v_ids), 0) - filled;
    SELECT count(*) - unknown INTO left_over FROM public.radacct
    WHERE radacctid >= p_first AND radacctid < p_end AND adopted AND router_id IS NULL;

    UPDATE radmeter.backfill SET
        filled = CASE WHEN left_over = 0 AND unknown = 0
                      THEN backfill.filled + int8multirange(int8range(p_first, p_end)) ELSE backfill.filled END,
        filled_rows = filled_rows + backfill_fill.filled, run_rows = run_rows + backfill_fill.filled,
        run_ids = run_ids + CASE WHEN left_over = 0 AND unknown = 0 THEN p_end - p_first ELSE 0 END,
        changed_at = clock_timestamp();
END;
$$;
