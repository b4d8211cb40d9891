-- radmeter.backfill_progress(): how far the history of an adopted radacct is counted. No row before the backfill begins.
--   ids, counted_ids, filled_ids  numbers of radacctid that an adopted session can have: all, counted, filled. Not every
--                                 id has a session
--   run_*, changed_at             the latest run: when it began, how far it is, when it last did something
--   waiting                       sums, and changes of user or router, that are not in the counters yet
-- Reads radmeter's tables of the backfill, pg_locks.
CREATE OR REPLACE FUNCTION radmeter.backfill_progress()
RETURNS TABLE (running boolean, began_at timestamptz, pass text, ids bigint, counted_ids bigint, counted_sessions bigint,
               filled_ids bigint, filled_sessions bigint, waiting bigint,
               run_began_at timestamptz, changed_at timestamptz, run_rows bigint, run_ids bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_locks
                   WHERE locktype = 'advisory' AND granted AND objsubid = 1
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                     AND (classid::bigint << 32 | objid::bigint) = hashtextextended('radmeter.backfill', 0)),
           began_at, pass, last_id - first_id + 1,
           (SELECT coalesce(sum(upper(span) - lower(span)), 0)::bigint FROM unnest(counted) AS span), counted_rows,
           (SELECT coalesce(sum(upper(span) - lower(span)), 0)::bigint FROM unnest(filled) AS span), filled_rows,
           (SELECT coalesce(sum(cardinality(usernames)), 0)::bigint FROM radmeter.backfill_user)
               + (SELECT coalesce(sum(cardinality(router_ids)), 0)::bigint FROM radmeter.backfill_router)
               + (SELECT count(*) FROM radmeter.adopted_move AS move WHERE move.radacctid <@ backfill.counted),
           run_began_at, changed_at, run_rows, run_ids
    FROM radmeter.backfill;
$$;
