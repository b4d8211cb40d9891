-- radmeter.backfill_move(bucket): adds the sums of a bucket, found by radmeter.backfill_range, to the counters.
-- Each sum is deleted in the transaction that adds it. It takes the lock of radmeter.ingest, which so waits for one
-- bucket. Other writers do not take that lock: as the triggers on radacct do, this adds to routers before users, each in
-- the order of keys, so that nobody deadlocks. If a router was merged meanwhile, its sums go to the router that it became.
-- Returns how many counters it added to. Writes user_quota_usage, router_daily_usage, radmeter.backfill_user and _router,
-- quota_change.
CREATE OR REPLACE FUNCTION radmeter.backfill_move(p_bucket integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
    v_users text[];
    v_routers bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    WITH found AS (
        DELETE FROM radmeter.backfill_router WHERE bucket = p_bucket RETURNING *
    )
    INSERT INTO public.router_daily_usage AS usage (router_id, usage_date, bytes_in, bytes_out)
    SELECT CASE WHEN router.merged_at IS NULL THEN router.id ELSE router.merged_into END AS router_id,
           part.usage_date, radmeter.as_counter(sum(part.bytes_in)), radmeter.as_counter(sum(part.bytes_out))
    FROM found CROSS JOIN LATERAL unnest(found.router_ids, found.usage_dates, found.bytes_in, found.bytes_out)
        AS part (router_id, usage_date, bytes_in, bytes_out)
    JOIN public.routers AS router ON router.id = part.router_id
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (router_id, usage_date) DO UPDATE SET
        bytes_in = radmeter.as_counter(usage.bytes_in::numeric + excluded.bytes_in),
        bytes_out = radmeter.as_counter(usage.bytes_out::numeric + excluded.bytes_out),
        last_updated = excluded.last_updated;
    GET DIAGNOSTICS v_routers = ROW_COUNT;

    WITH found AS (
        DELETE FROM radmeter.backfill_user WHERE bucket = p_bucket RETURNING *
    ), counted AS (
        INSERT INTO public.user_quota_usage AS usage (username, period_start, bytes_in, bytes_out)
        SELECT part.username, part.period_start, radmeter.as_counter(sum(part.bytes_in)), radmeter.as_counter(sum(part.bytes_out))
        FROM found CROSS JOIN LATERAL unnest(found.usernames, found.period_starts, found.bytes_in, found.bytes_out)
            AS part (username, period_start, bytes_in, bytes_out)
        GROUP BY part.username, part.period_start ORDER BY part.username, part.period_start
        ON CONFLICT (username, period_start) DO UPDATE SET
            bytes_in = radmeter.as_counter(usage.bytes_in::numeric + excluded.bytes_in),
            bytes_out = radmeter.as_counter(usage.bytes_out::numeric + excluded.bytes_out),
            last_updated = excluded.last_updated
        RETURNING username
    )
    SELECT array_agg(username) INTO v_users FROM counted;
    PERFORM radmeter.note_counters_moved(v_users);
    RETURN coalesce(cardinality(v_users), 0) + v_routers;
END;
$$;
