-- radmeter.backfill_redo(from, to): recomputes the counters of a span of days. What they lack, or have too much, goes
-- into radmeter.backfill_user and radmeter.backfill_router, as in radmeter.backfill_range.
--   from, to  as for radmeter.user_differences and radmeter.router_differences. NULL: open
-- radmeter verify --repair does the same at once, while ingest waits. This works while packets arrive: a difference in
-- one snapshot stays the same later, since packets add the same to a counter and to its sessions.
-- Returns how many counters of users and days of routers differed. Counters without all their sessions are left alone.
-- Writes radmeter.backfill_user, radmeter.backfill_router, audit_log.
CREATE OR REPLACE FUNCTION radmeter.backfill_redo(p_from date, p_to date, OUT users bigint, OUT routers bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_users jsonb;
    v_routers jsonb;
BEGIN
    -- Not at the same time as radmeter.repair_usage: a correction between our reading and our addition would be made
    -- twice.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.repair', 0));
    WITH different AS MATERIALIZED (
        SELECT * FROM radmeter.user_differences(p_from, p_to, NULL) WHERE complete
    ), found AS (
        INSERT INTO radmeter.backfill_user (bucket, usernames, period_starts, bytes_in, bytes_out)
        SELECT hashtext(username) & 127, array_agg(username), array_agg(period_start),
               array_agg((recomputed_in - counted_in)::bigint), array_agg((recomputed_out - counted_out)::bigint)
        FROM different GROUP BY 1
    )
    SELECT count(*), jsonb_agg(jsonb_build_array(username, period_start, counted_in, counted_out,
                                                 recomputed_in, recomputed_out)) FILTER (WHERE number <= 10000)
    INTO users, v_users FROM (SELECT *, row_number() OVER () AS number FROM different) AS numbered;
    WITH different AS MATERIALIZED (
        SELECT * FROM radmeter.router_differences(p_from, p_to, NULL) WHERE complete
    ), found AS (
        INSERT INTO radmeter.backfill_router (bucket, router_ids, usage_dates, bytes_in, bytes_out)
        SELECT hashint8(router_id) & 127, array_agg(router_id), array_agg(usage_date),
               array_agg((recomputed_in - counted_in)::bigint), array_agg((recomputed_out - counted_out)::bigint)
        FROM different GROUP BY 1
    )
    SELECT count(*), jsonb_agg(jsonb_build_array(router_id, usage_date, counted_in, counted_out,
                                                 recomputed_in, recomputed_out)) FILTER (WHERE number <= 10000)
    INTO routers, v_routers FROM (SELECT *, row_number() OVER () AS number FROM different) AS numbered;
    IF users > 0 OR routers > 0 THEN
        PERFORM radmeter.audit('backfill redo', jsonb_build_object(
            'from', p_from, 'to', p_to, 'users', users, 'routers', routers,
            'columns', 'key, day, bytes in and out before, in and out after; the first 10000',
            'user_counters', coalesce(v_users, '[]'), 'router_days', coalesce(v_routers, '[]')));
    END IF;
END;
$$;
