-- radmeter.user_parts(username, period_start): what makes up a user's counter of a quota period.
--   username      compared exactly; an empty one has no counter
--   period_start  the first day of the period
-- Returns a row for each session that counted in the period, with its octets in it, in public.radacct's numbers. part:
--   session   what packets have counted
--   history   what an adopted session had when it was adopted, and the backfill has counted
--   to come   what a backfill has found and not yet added to the counter (one row, below zero, without a session)
-- Their sum is what radmeter.user_differences recomputes: the same octets by session instead of by counter. So it is the
-- counter, unless sessions were dropped, or the counter is wrong. Reads radacct, radmeter.session_slice, and the
-- adoption's tables.
CREATE OR REPLACE FUNCTION radmeter.user_parts(p_username text, p_period_start date)
RETURNS TABLE (part text, radacctid bigint, bytes_in numeric, bytes_out numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH session AS MATERIALIZED (
        SELECT known.radacctid,
               coalesce(known.period_start, radmeter.user_period_start(known.username,
                   coalesce(known.acctupdatetime, known.acctstoptime, known.acctstarttime, now()))) AS period_start,
               -- What an adopted session had before is counted as its history.
               CASE WHEN known.adopted IS NOT TRUE THEN coalesce(known.acctinputoctets, 0)
                    ELSE coalesce(known.acctinputoctets - first.bytes_in, 0) END AS bytes_in,
               CASE WHEN known.adopted IS NOT TRUE THEN coalesce(known.acctoutputoctets, 0)
                    ELSE coalesce(known.acctoutputoctets - first.bytes_out, 0) END AS bytes_out
        FROM public.radacct AS known
        LEFT JOIN radmeter.adoption_baseline AS first ON first.radacctid = known.radacctid
        WHERE known.username = p_username AND p_username <> ''
    ), slice AS MATERIALIZED (
        SELECT finished.radacctid, finished.period_start, finished.bytes_in, finished.bytes_out,
               session.period_start AS under_way
        FROM session JOIN radmeter.session_slice AS finished ON finished.radacctid = session.radacctid
    ), part AS (
        SELECT 'session' AS part, session.radacctid, session.bytes_in, session.bytes_out
        FROM session WHERE session.period_start = p_period_start
        UNION ALL
        SELECT 'session', slice.radacctid, slice.bytes_in, slice.bytes_out
        FROM slice WHERE slice.period_start = p_period_start
        UNION ALL
        SELECT 'session', slice.radacctid, -slice.bytes_in, -slice.bytes_out
        FROM slice WHERE slice.under_way = p_period_start
        UNION ALL
        SELECT 'history', adopted.radacctid, adopted.bytes_in, adopted.bytes_out
        FROM radmeter.adoption_baselines() AS adopted
        WHERE adopted.counted AND adopted.username = p_username AND adopted.period_start = p_period_start
          AND p_username <> ''
        UNION ALL
        SELECT 'to come', NULL, -pending.bytes_in, -pending.bytes_out
        FROM radmeter.pending_user_sums() AS pending
        WHERE pending.username = p_username AND pending.period_start = p_period_start AND p_username <> ''
    )
    SELECT part.part, part.radacctid, sum(part.bytes_in), sum(part.bytes_out)
    FROM part GROUP BY part.part, part.radacctid
    HAVING sum(part.bytes_in) <> 0 OR sum(part.bytes_out) <> 0;
END;
$$;
