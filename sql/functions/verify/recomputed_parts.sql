-- radmeter.recomputed_parts(): the octets of every session in radacct by user, router, day and period. radmeter verify
-- recomputes the counters from them, independently of the triggers.
-- The rows are parts to be summed: each session's total on its last day, and each finished slice, subtracted from that
-- day and added to its own. So both tables are read once, no sum per session is needed, and an index is used if the
-- caller asks for one user or router.
-- An adopted session counts what it has gained since its adoption, in the same way. What it had before counts as soon
-- as the backfill has counted it; the acctstoptime of that part is the part's own time.
-- One SELECT, so that PostgreSQL inlines it into the caller's query. Reads radacct, radmeter.session_slice, and what
-- radmeter.adoption_baselines reads.
CREATE OR REPLACE FUNCTION radmeter.recomputed_parts()
RETURNS TABLE (username text, router_id bigint, acctstoptime timestamptz, usage_date date, period_start date,
               bytes_in bigint, bytes_out bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT session.username, session.router_id, session.acctstoptime,
           -- usage_date is NULL only if another writer inserted the row while the triggers were off.
           coalesce(session.usage_date, radmeter.usage_date(session.router_id,
               radmeter.last_possible_time(
                   coalesce(session.acctupdatetime, session.acctstoptime, session.acctstarttime), now()))),
           coalesce(session.period_start, radmeter.user_period_start(session.username,
               radmeter.last_possible_time(
                   coalesce(session.acctupdatetime, session.acctstoptime, session.acctstarttime), now()))),
           coalesce(session.acctinputoctets, 0), coalesce(session.acctoutputoctets, 0)
    FROM public.radacct AS session
    WHERE (session.acctinputoctets <> 0 OR session.acctoutputoctets <> 0) AND session.adopted IS NOT TRUE
    UNION ALL
    SELECT session.username, session.router_id, session.acctstoptime,
           coalesce(session.usage_date, radmeter.usage_date(session.router_id,
               radmeter.last_possible_time(
                   coalesce(session.acctupdatetime, session.acctstoptime, session.acctstarttime), now()))),
           coalesce(session.period_start, radmeter.user_period_start(session.username,
               radmeter.last_possible_time(
                   coalesce(session.acctupdatetime, session.acctstoptime, session.acctstarttime), now()))),
           radmeter.as_counter(coalesce(session.acctinputoctets, 0)::numeric - first.bytes_in),
           radmeter.as_counter(coalesce(session.acctoutputoctets, 0)::numeric - first.bytes_out)
    FROM radmeter.adoption_baseline AS first
    JOIN public.radacct AS session ON session.radacctid = first.radacctid
    UNION ALL
    SELECT adopted.username, adopted.router_id, adopted.at, adopted.usage_date, adopted.period_start,
           adopted.bytes_in, adopted.bytes_out
    FROM radmeter.adoption_baselines() AS adopted
    WHERE adopted.counted AND (adopted.bytes_in <> 0 OR adopted.bytes_out <> 0)
    UNION ALL
    SELECT session.username, session.router_id, session.acctstoptime, part.usage_date, part.period_start,
           part.bytes_in, part.bytes_out
    FROM radmeter.session_slice AS slice
    JOIN public.radacct AS session ON session.radacctid = slice.radacctid
    CROSS JOIN LATERAL (VALUES
        (slice.usage_date, slice.period_start, slice.bytes_in, slice.bytes_out),
        (coalesce(session.usage_date, radmeter.usage_date(session.router_id,
             radmeter.last_possible_time(
                   coalesce(session.acctupdatetime, session.acctstoptime, session.acctstarttime), now()))),
         coalesce(session.period_start, radmeter.user_period_start(session.username,
             radmeter.last_possible_time(
                   coalesce(session.acctupdatetime, session.acctstoptime, session.acctstarttime), now()))),
         -slice.bytes_in, -slice.bytes_out)
    ) AS part (usage_date, period_start, bytes_in, bytes_out);
END;
