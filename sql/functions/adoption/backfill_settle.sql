-- radmeter.backfill_settle([radacctids]): makes the changes of user and router that had to wait until the adoption
-- baseline of their session was counted: those of the given sessions, else up to 1000 of all. Returns how many. Call it
-- until it returns 0.
-- Called by radmeter.reassign_adopted in the transaction of the change, by the backfill and by the periodic jobs.
-- Writes user_quota_usage, router_daily_usage, radmeter.adopted_move, quota_change.
CREATE OR REPLACE FUNCTION radmeter.backfill_settle(p_radacctids bigint[] DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
-- A few index lookups for each change, under any settings of the caller and with tables of any size.
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_settled bigint;
    v_users text[];
BEGIN
    -- The lock of ingest is taken only for all sessions, never from the trigger: that may run in any transaction.
    IF p_radacctids IS NULL THEN
        IF NOT EXISTS (SELECT FROM radmeter.adopted_move) THEN
            RETURN 0;
        END IF;
        PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    END IF;
    -- The counters get what was deleted here, not what was found: another session may settle the same changes.
    WITH settled AS (
        DELETE FROM radmeter.adopted_move WHERE ctid = ANY (ARRAY(
            SELECT move.ctid FROM radmeter.adopted_move AS move
            JOIN radmeter.backfill ON move.radacctid <@ backfill.counted
            WHERE p_radacctids IS NULL OR move.radacctid = ANY (p_radacctids)
            LIMIT CASE WHEN p_radacctids IS NULL THEN 1000 END))
        RETURNING ctid AS move
    ), effect AS MATERIALIZED (
        SELECT effect.* FROM settled JOIN radmeter.adopted_effects() AS effect USING (move)
    ), routers AS (
        INSERT INTO public.router_daily_usage AS usage (router_id, usage_date, bytes_in, bytes_out)
        SELECT CASE WHEN router.merged_at IS NULL THEN router.id ELSE router.merged_into END AS router_id,
               usage_date, radmeter.as_counter(sum(bytes_in)), radmeter.as_counter(sum(bytes_out))
        FROM (SELECT old_router_id AS router_id, usage_date, -bytes_in AS bytes_in, -bytes_out AS bytes_out
              FROM effect
              UNION ALL
              SELECT new_router_id, usage_date, bytes_in, bytes_out FROM effect) AS moved
        JOIN public.routers AS router ON router.id = moved.router_id
        GROUP BY 1, 2 HAVING sum(bytes_in) <> 0 OR sum(bytes_out) <> 0 ORDER BY 1, 2
        ON CONFLICT (router_id, usage_date) DO UPDATE SET
            bytes_in = radmeter.as_counter(usage.bytes_in::numeric + excluded.bytes_in),
            bytes_out = radmeter.as_counter(usage.bytes_out::numeric + excluded.bytes_out),
            last_updated = excluded.last_updated
        RETURNING 1
    ), users AS (
        INSERT INTO public.user_quota_usage AS usage (username, period_start, bytes_in, bytes_out)
        SELECT username, period_start, radmeter.as_counter(sum(bytes_in)), radmeter.as_counter(sum(bytes_out)) FROM (
            SELECT old_username AS username, period_start, -bytes_in AS bytes_in, -bytes_out AS bytes_out FROM effect
            UNION ALL
            SELECT new_username, period_start, bytes_in, bytes_out FROM effect) AS moved
        WHERE username <> '' AND (SELECT count(*) FROM routers) IS NOT NULL  -- routers first
        GROUP BY username, period_start HAVING sum(bytes_in) <> 0 OR sum(bytes_out) <> 0
        ORDER BY username, period_start
        ON CONFLICT (username, period_start) DO UPDATE SET
            bytes_in = radmeter.as_counter(usage.bytes_in::numeric + excluded.bytes_in),
            bytes_out = radmeter.as_counter(usage.bytes_out::numeric + excluded.bytes_out),
            last_updated = excluded.last_updated
        RETURNING username
    )
    SELECT count(*), (SELECT array_agg(username) FROM users) INTO v_settled, v_users FROM settled;
    PERFORM radmeter.note_counters_moved(v_users);
    RETURN v_settled;
END;
$$;
