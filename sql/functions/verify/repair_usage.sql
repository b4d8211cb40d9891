-- radmeter.repair_usage(usernames, period_starts, router_ids, usage_dates): sets counters to the sum of their sessions,
-- in one transaction. A row in audit_log has the old and the new value of each.
--   usernames, period_starts   the user counters to check, in pairs
--   router_ids, usage_dates    the router counters to check, in pairs
-- Each counter is recomputed here, while nothing changes: ingest waits for its own lock, other writers of radacct for
-- the table's lock. A counter that is right now is not changed, nor one whose sessions are no longer all there.
-- Returns how many were changed. Writes user_quota_usage, router_daily_usage, radmeter.quota_change,
-- audit_log.
CREATE OR REPLACE FUNCTION radmeter.repair_usage(
    p_usernames text[], p_period_starts date[], p_router_ids bigint[], p_usage_dates date[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_users jsonb;
    v_routers jsonb;
BEGIN
    -- One repair at a time, since radmeter.backfill_redo finds differences while ingest goes on, and adds them later.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.repair', 0));
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    LOCK TABLE public.radacct IN SHARE ROW EXCLUSIVE MODE;

    WITH different AS (
        SELECT difference.*
        FROM radmeter.user_differences(NULL, NULL, ARRAY(SELECT DISTINCT unnest(p_usernames))) AS difference
        JOIN unnest(p_usernames, p_period_starts) AS asked (username, period_start) USING (username, period_start)
        WHERE difference.complete
    ), repaired AS (
        INSERT INTO public.user_quota_usage AS usage (username, period_start, bytes_in, bytes_out)
        SELECT username, period_start, recomputed_in, recomputed_out FROM different ORDER BY username, period_start
        ON CONFLICT (username, period_start) DO UPDATE SET
            bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out, last_updated = excluded.last_updated
    )
    SELECT jsonb_agg(jsonb_build_object('username', username, 'period_start', period_start,
        'before', jsonb_build_array(counted_in, counted_out),
        'after', jsonb_build_array(recomputed_in, recomputed_out)))
    INTO v_users FROM different;
    PERFORM radmeter.note_counters_moved(ARRAY(SELECT DISTINCT unnest(p_usernames)));
    -- An empty user name is no user: nothing of it stays.
    DELETE FROM public.user_quota_usage
    WHERE username = '' AND '' = ANY (p_usernames) AND bytes_in = 0 AND bytes_out = 0;

    WITH different AS (
        SELECT difference.*
        FROM radmeter.router_differences(NULL, NULL, ARRAY(SELECT DISTINCT unnest(p_router_ids))) AS difference
        JOIN unnest(p_router_ids, p_usage_dates) AS asked (router_id, usage_date) USING (router_id, usage_date)
        WHERE difference.complete
    ), repaired AS (
        INSERT INTO public.router_daily_usage AS usage (router_id, usage_date, bytes_in, bytes_out)
        SELECT router_id, usage_date, recomputed_in, recomputed_out FROM different ORDER BY router_id, usage_date
        ON CONFLICT (router_id, usage_date) DO UPDATE SET
            bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out, last_updated = excluded.last_updated
    )
    SELECT jsonb_agg(jsonb_build_object('router_id', router_id, 'usage_date', usage_date,
        'before', jsonb_build_array(counted_in, counted_out),
        'after', jsonb_build_array(recomputed_in, recomputed_out)))
    INTO v_routers FROM different;

    IF v_users IS NULL AND v_routers IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM radmeter.audit('verify repair', jsonb_build_object(
        'bytes', 'in, out', 'users', coalesce(v_users, '[]'), 'routers', coalesce(v_routers, '[]')));
    RETURN jsonb_array_length(coalesce(v_users, '[]')) + jsonb_array_length(coalesce(v_routers, '[]'));
END;
$$;
