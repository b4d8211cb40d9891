-- radmeter.router_differences(from, to, router_ids): rows of router_daily_usage that differ from the sum of their
-- sessions.
--   from, to    the first and the last day; NULL: no limit
--   router_ids  only these; NULL: all
-- Returns the counted and the recomputed octets, and whether all sessions of the day are still there. If retention
-- dropped some, a difference proves nothing. Reads router_daily_usage, and what radmeter.recomputed_parts reads.
-- Usage that a backfill has found but not yet added to the counters is left out.
-- One more day after the dropped sessions is not complete: a late packet counts on its own day, perhaps the day after
-- the stop.
CREATE OR REPLACE FUNCTION radmeter.router_differences(p_from date, p_to date, p_router_ids bigint[])
RETURNS TABLE (router_id bigint, usage_date date, counted_in numeric, counted_out numeric,
               recomputed_in numeric, recomputed_out numeric, complete boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET work_mem = '64MB'
AS $$
#variable_conflict use_column
DECLARE
    v_timezone text := radmeter.setting_value('timezone');
    v_complete_from timestamptz := radmeter.sessions_complete_from() + interval '1 day';
BEGIN
    RETURN QUERY
    WITH recomputed AS (
        SELECT part.router_id, part.usage_date, radmeter.as_counter(sum(part.bytes_in))::numeric AS bytes_in,
               radmeter.as_counter(sum(part.bytes_out))::numeric AS bytes_out
        FROM (SELECT session.router_id, session.acctstoptime, session.usage_date,
                     session.bytes_in, session.bytes_out
              FROM radmeter.recomputed_parts() AS session
              UNION ALL
              SELECT pending.router_id, NULL, pending.usage_date, -pending.bytes_in, -pending.bytes_out
              FROM radmeter.pending_router_sums() AS pending) AS part
        WHERE part.router_id IS NOT NULL
          -- No counter can have the octets of a router that does not exist (radmeter.count_inserted).
          AND EXISTS (SELECT FROM public.routers AS known WHERE known.id = part.router_id)
          AND (p_router_ids IS NULL OR part.router_id = ANY (p_router_ids))
          AND (p_from IS NULL OR part.usage_date >= p_from)
          AND (p_to IS NULL OR part.usage_date <= p_to)
          -- No packet counts for a session that stopped more than 400 days before it (radmeter.update_closed).
          AND (p_from IS NULL OR part.acctstoptime IS NULL OR part.acctstoptime >= p_from - interval '402 days')
        GROUP BY part.router_id, part.usage_date
    ), counted AS (
        SELECT usage.router_id, usage.usage_date, usage.bytes_in, usage.bytes_out
        FROM public.router_daily_usage AS usage
        WHERE (p_router_ids IS NULL OR usage.router_id = ANY (p_router_ids))
          AND (p_from IS NULL OR usage.usage_date >= p_from)
          AND (p_to IS NULL OR usage.usage_date <= p_to)
    ), different AS (
        SELECT router_id, usage_date,
               coalesce(counted.bytes_in, 0)::numeric AS counted_in,
               coalesce(counted.bytes_out, 0)::numeric AS counted_out,
               coalesce(recomputed.bytes_in, 0) AS recomputed_in,
               coalesce(recomputed.bytes_out, 0) AS recomputed_out
        FROM counted FULL JOIN recomputed USING (router_id, usage_date)
        WHERE (coalesce(counted.bytes_in, 0), coalesce(counted.bytes_out, 0))
            <> (coalesce(recomputed.bytes_in, 0), coalesce(recomputed.bytes_out, 0))
    )
    SELECT different.router_id, different.usage_date, different.counted_in, different.counted_out,
           different.recomputed_in, different.recomputed_out,
           different.usage_date::timestamp AT TIME ZONE coalesce(router.timezone, v_timezone) >= v_complete_from
    FROM different LEFT JOIN public.routers AS router ON router.id = different.router_id
    ORDER BY different.router_id, different.usage_date;
END;
$$;
