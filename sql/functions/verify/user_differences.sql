-- radmeter.user_differences(from, to, usernames): rows of user_quota_usage that differ from the sum of their sessions.
--   from, to   only periods with a day from `from` to `to`; NULL: no limit
--   usernames  only these; NULL: all
-- Returns the counted and the recomputed octets, and whether all sessions of the period are still there
-- (radmeter.period_complete). If some were removed, a difference proves nothing. Reads user_quota_usage, and what
-- radmeter.recomputed_parts reads.
-- Usage that a backfill has found but not yet added to the counters is left out.
-- An empty user name is no user. What an older release counted for it is a difference, whatever was dropped.
CREATE OR REPLACE FUNCTION radmeter.user_differences(p_from date, p_to date, p_usernames text[])
RETURNS TABLE (username text, period_start date, counted_in numeric, counted_out numeric,
               recomputed_in numeric, recomputed_out numeric, complete boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET work_mem = '64MB'
AS $$
#variable_conflict use_column
DECLARE
    v_timezone text := radmeter.setting_value('timezone');
    v_complete_from timestamptz := radmeter.sessions_complete_from();
BEGIN
    RETURN QUERY
    WITH recomputed AS (
        SELECT part.username, part.period_start, radmeter.as_counter(sum(part.bytes_in))::numeric AS bytes_in,
               radmeter.as_counter(sum(part.bytes_out))::numeric AS bytes_out
        FROM (SELECT session.username, session.period_start, session.bytes_in, session.bytes_out
              FROM radmeter.recomputed_parts() AS session WHERE session.username <> ''
              UNION ALL
              SELECT pending.username, pending.period_start, -pending.bytes_in, -pending.bytes_out
              FROM radmeter.pending_user_sums() AS pending) AS part
        WHERE part.username IS NOT NULL
          AND (p_usernames IS NULL OR part.username = ANY (p_usernames))
          AND (p_to IS NULL OR part.period_start <= p_to)
        GROUP BY part.username, part.period_start
    ), counted AS (
        SELECT usage.username, usage.period_start, usage.bytes_in, usage.bytes_out
        FROM public.user_quota_usage AS usage
        WHERE (p_usernames IS NULL OR usage.username = ANY (p_usernames))
          AND (p_to IS NULL OR usage.period_start <= p_to)
    ), different AS (
        SELECT username, period_start,
               coalesce(counted.bytes_in, 0)::numeric AS counted_in,
               coalesce(counted.bytes_out, 0)::numeric AS counted_out,
               coalesce(recomputed.bytes_in, 0) AS recomputed_in,
               coalesce(recomputed.bytes_out, 0) AS recomputed_out
        FROM counted FULL JOIN recomputed USING (username, period_start)
        WHERE (coalesce(counted.bytes_in, 0), coalesce(counted.bytes_out, 0))
            <> (coalesce(recomputed.bytes_in, 0), coalesce(recomputed.bytes_out, 0))
    )
    SELECT different.username, different.period_start, different.counted_in, different.counted_out,
           different.recomputed_in, different.recomputed_out,
           different.username = ''
               OR radmeter.period_complete(plan.quota_type, plan.anchor_day, subscriber.quota_start,
                                           coalesce(plan.timezone, v_timezone), different.period_start, v_complete_from)
    FROM different
    LEFT JOIN public.subscribers AS subscriber USING (username)
    LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
    WHERE p_from IS NULL OR different.period_start >=
        radmeter.period_start(plan.quota_type, plan.anchor_day, subscriber.quota_start, p_from)
    ORDER BY different.username, different.period_start;
END;
$$;
