-- radmeter.pending_router_sums(): the sums for routers that a backfill has found, or has to move, and has not added to
-- the counters yet. The sessions have these octets and the counters will have them, so reconciliation subtracts them.
-- It is one SELECT, so that PostgreSQL makes it part of the caller's query.
CREATE OR REPLACE FUNCTION radmeter.pending_router_sums()
RETURNS TABLE (router_id bigint, usage_date date, bytes_in bigint, bytes_out bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
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
END;
