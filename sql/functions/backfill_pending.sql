-- radmeter.pending_user_sums() and radmeter.pending_router_sums(): what a backfill has found, or has to move, and not yet
-- added to the counters: in the counters it will be, in the sums over the sessions it is. So reconciliation takes it off.
-- Each is one SELECT, so that it becomes part of the caller's query.
CREATE OR REPLACE FUNCTION radmeter.pending_user_sums()
RETURNS TABLE (username text, period_start date, bytes_in bigint, bytes_out bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT part.* FROM radmeter.backfill_user AS found
    CROSS JOIN LATERAL unnest(found.usernames, found.period_starts, found.bytes_in, found.bytes_out)
        AS part (username, period_start, bytes_in, bytes_out)
    UNION ALL
    SELECT side.* FROM radmeter.adopted_effects() AS effect
    CROSS JOIN LATERAL (VALUES
        (effect.old_username, effect.period_start, -effect.bytes_in, -effect.bytes_out),
        (effect.new_username, effect.period_start, effect.bytes_in, effect.bytes_out)
    ) AS side (username, period_start, bytes_in, bytes_out)
    WHERE side.username IS NOT NULL;
$$;

CREATE OR REPLACE FUNCTION radmeter.pending_router_sums()
RETURNS TABLE (router_id bigint, usage_date date, bytes_in bigint, bytes_out bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN router.merged_at IS NULL THEN router.id ELSE router.merged_into END,
           part.usage_date, part.bytes_in, part.bytes_out
    FROM (
        SELECT part.* FROM radmeter.backfill_router AS found
        CROSS JOIN LATERAL unnest(found.router_ids, found.usage_dates, found.bytes_in, found.bytes_out)
            AS part (router_id, usage_date, bytes_in, bytes_out)
        UNION ALL
        SELECT side.* FROM radmeter.adopted_effects() AS effect
        CROSS JOIN LATERAL (VALUES
            (effect.old_router_id, effect.usage_date, -effect.bytes_in, -effect.bytes_out),
            (effect.new_router_id, effect.usage_date, effect.bytes_in, effect.bytes_out)
        ) AS side (router_id, usage_date, bytes_in, bytes_out)
    ) AS part (router_id, usage_date, bytes_in, bytes_out)
    JOIN public.routers AS router ON router.id = part.router_id;
$$;
