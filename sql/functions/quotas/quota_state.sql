-- radmeter.quota_state(usernames, at): what users with a plan may use, have used and have left at an instant of now or
-- later. It is a function of plans, top-ups, counters and the instant: a period ends without any job.
--   at  now() for the present; an instant in the past is wrong for top-ups and rolled over octets
-- Returns a row for each subscriber of the names:
--   period_start, period_end   the first day of the period, and the first day after it (NULL: it does not end)
--   period_ends_at             midnight of period_end in the plan's time zone
--   quota_bytes                octets in both directions: the plans', what rolled over, and top-ups; NULL: no limit
--   used_bytes, used_in, used_out, remaining_bytes, remaining_in, remaining_out   remaining is never below 0
--   quota_seconds, used_seconds, remaining_seconds
--   top_up_bytes               what is left of top-ups that have not expired
--   percent                    of the quota that is used, the largest of its kinds, 0 to 100; 0 without a limit
--   status, reason             see docs/architecture.md, Quotas
--   speed_up, speed_down       bit/s, those of the tier in force or else of the plan
--   expires_at                 when the plan's validity ends
--   next_total                 the octets in both directions from which a status, tier or warning can change; NULL: none
--   due_at                     when it can change without usage; NULL: never
--   limited                    whether the user has anything to enforce: a limit, a tier, a speed, or is suspended
--   carried_bytes, unbooked_before, unbooked   for radmeter.apply_quotas
--   plan_bytes, plan_in, plan_out   the plans' quotas alone, which the account keeps: a period that has ended is settled
--              by the limits that it had
-- Top-ups pay what exceeds the quota. What they paid is booked now and then (radmeter.quota_booked), by counter: who comes
-- back to a period, by another plan or by the clock, does not pay twice. The rest is computed here. Of top-ups that
-- expired since the last booking, what was used meanwhile is taken first.
-- No value of a plan, a top-up or a counter is an error. Sums are numeric, and spans of time end after 100 years.
CREATE OR REPLACE FUNCTION radmeter.quota_state(p_usernames text[], p_at timestamptz)
RETURNS TABLE (
    username text, plan text, plan_id bigint, quota_type text, timezone text,
    period_start date, period_end date, period_ends_at timestamptz,
    quota_bytes bigint, used_bytes bigint, remaining_bytes bigint,
    used_in bigint, used_out bigint, quota_in bigint, quota_out bigint, remaining_in bigint, remaining_out bigint,
    quota_seconds bigint, used_seconds bigint, remaining_seconds bigint,
    top_up_bytes bigint, percent smallint, status text, reason text, speed_up bigint, speed_down bigint,
    max_sessions integer, session_timeout integer, idle_timeout integer, expires_at timestamptz,
    next_total bigint, due_at timestamptz, limited boolean,
    carried_bytes bigint, unbooked_before bigint, unbooked bigint,
    plan_bytes bigint, plan_in bigint, plan_out bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    -- PL/pgSQL keeps the plan for the next call. An SQL function makes it anew each time.
    RETURN QUERY
    -- Materialized: pulled up into each other, the expressions would grow so much that planning takes half a second.
    WITH subscription AS MATERIALIZED (
        SELECT subscriber.username, plan.name AS plan, plan.id AS plan_id, plan.period_number, plan.quota_type,
               radmeter.anchor_day(plan.quota_type, plan.anchor_day, subscriber.quota_start) AS anchor_day,
               subscriber.quota_start, coalesce(plan.timezone, (SELECT radmeter.setting_value('timezone'))) AS timezone,
               plan.rollover_bytes, subscriber.suspended_at,
               CASE WHEN subscriber.first_used_at IS NOT NULL AND plan.valid_seconds IS NOT NULL
                    THEN greatest(least(subscriber.first_used_at, p_at + interval '100 years'), p_at - interval '200 years')
                         + least(plan.valid_seconds, 3155760000) * interval '1 second' END AS expires_at,
               plan.valid_seconds IS NOT NULL AND subscriber.first_used_at IS NULL AS not_begun,
               total.*
        FROM public.subscribers AS subscriber JOIN public.plans AS plan ON plan.id = subscriber.plan_id
        CROSS JOIN LATERAL (
            -- What is NULL of the own plan is no limit. Quotas add up. A further plan without any quota takes away all
            -- limits of octets and time. Else what a further plan does not have changes nothing. Of speeds, sessions and
            -- timeouts the larger one counts.
            SELECT CASE WHEN plan.quota_bytes IS NOT NULL AND bool_and(each.has_quota)
                        THEN least(sum(each.quota_bytes), 9223372036854775807)::bigint END AS plan_bytes,
                   CASE WHEN plan.quota_bytes_in IS NOT NULL AND bool_and(each.has_quota)
                        THEN least(sum(each.quota_bytes_in), 9223372036854775807)::bigint END AS plan_in,
                   CASE WHEN plan.quota_bytes_out IS NOT NULL AND bool_and(each.has_quota)
                        THEN least(sum(each.quota_bytes_out), 9223372036854775807)::bigint END AS plan_out,
                   CASE WHEN plan.quota_seconds IS NOT NULL AND bool_and(each.has_quota)
                        THEN least(sum(each.quota_seconds), 3155760000)::bigint END AS quota_seconds,
                   CASE WHEN plan.speed_up IS NOT NULL THEN max(each.speed_up) END AS speed_up,
                   CASE WHEN plan.speed_down IS NOT NULL THEN max(each.speed_down) END AS speed_down,
                   CASE WHEN plan.max_sessions IS NOT NULL THEN max(each.max_sessions) END AS max_sessions,
                   CASE WHEN plan.session_timeout IS NOT NULL THEN max(each.session_timeout) END AS session_timeout,
                   CASE WHEN plan.idle_timeout IS NOT NULL THEN max(each.idle_timeout) END AS idle_timeout
            FROM (SELECT *, coalesce(quota_bytes, quota_bytes_in, quota_bytes_out, quota_seconds) IS NOT NULL AS has_quota
                  FROM public.plans) AS each
            WHERE each.id = plan.id
               OR each.id IN (SELECT further.plan_id FROM public.subscriber_plans AS further
                              WHERE further.username = subscriber.username)) AS total
        WHERE subscriber.username = ANY (p_usernames)
    ), period AS MATERIALIZED (
        SELECT *, CASE quota_type WHEN 'one-time' THEN NULL
                      ELSE radmeter.period_start(quota_type, anchor_day, quota_start, period_start - 1) END AS before_start,
               radmeter.period_end(quota_type, anchor_day, period_start) AS period_end
        FROM (SELECT *, radmeter.period_start(quota_type, anchor_day, quota_start, (p_at AT TIME ZONE timezone)::date)
                        AS period_start
              -- OFFSET 0: else the function's text would come into each place that names it, also as an argument of
              -- functions, which are not inlined then.
              FROM subscription OFFSET 0) AS dated
    ), usage AS MATERIALIZED (
        SELECT period.*, radmeter.day_begins(period.period_end, period.timezone) AS period_ends_at,
               greatest(coalesce(counter.bytes_in, 0), 0) AS used_in,
               greatest(coalesce(counter.bytes_out, 0), 0) AS used_out,
               account.period_start AS account_period,
               -- With another period a plan is another one.
               CASE WHEN account.period_number = period.period_number THEN account.plan_id END AS account_plan,
               coalesce(account.settled_at, '-infinity') AS settled_at,
               coalesce(account.carried_bytes, 0) AS account_carried,
               coalesce(booked.booked_bytes, 0) AS booked,
               CASE WHEN account.period_start < period.period_start THEN greatest(coalesce(former.bytes_in, 0), 0) END
                   AS former_in,
               CASE WHEN account.period_start < period.period_start THEN greatest(coalesce(former.bytes_out, 0), 0) END
                   AS former_out,
               coalesce(former_booked.booked_bytes, 0) AS former_booked,
               account.plan_bytes AS account_bytes, account.plan_in AS account_in, account.plan_out AS account_out,
               online.seconds AS used_seconds, online.open_sessions, online.running_sessions,
               top_up.*, tier.*
        FROM period
        -- LATERAL .. OFFSET 0: by the index, also if the table was empty when PostgreSQL last counted its rows. A join
        -- would then read the whole table for each set of users.
        LEFT JOIN LATERAL (
            SELECT bytes_in, bytes_out FROM public.user_quota_usage AS each
            WHERE each.username = period.username AND each.period_start = period.period_start OFFSET 0) AS counter ON true
        LEFT JOIN LATERAL (
            SELECT * FROM radmeter.quota_account AS each WHERE each.username = period.username OFFSET 0) AS account ON true
        LEFT JOIN LATERAL (
            SELECT bytes_in, bytes_out FROM public.user_quota_usage AS each
            WHERE each.username = period.username AND each.period_start = account.period_start OFFSET 0) AS former ON true
        LEFT JOIN LATERAL (
            SELECT booked_bytes FROM radmeter.quota_booked AS each
            WHERE each.username = period.username AND each.period_start = period.period_start OFFSET 0) AS booked ON true
        LEFT JOIN LATERAL (
            SELECT booked_bytes FROM radmeter.quota_booked AS each
            WHERE each.username = period.username AND each.period_start = account.period_start OFFSET 0) AS former_booked
            ON true
        -- A one-time period begins on any day that a date can be.
        -- WHERE, not ON: for a user without a quota of time the function is not called. It was a third of the time of all.
        LEFT JOIN LATERAL (
            SELECT seconds, open_sessions, running_sessions FROM radmeter.used_seconds(period.username,
                radmeter.day_begins(greatest(least(period.period_start, date '9999-12-31'), date '0001-01-01'),
                                    period.timezone), p_at)
            WHERE period.quota_seconds IS NOT NULL OFFSET 0) AS online ON true
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(bytes - used_bytes)
                       FILTER (WHERE paid.expires_at IS NULL OR paid.expires_at > p_at), 0) AS live,
                   coalesce(sum(bytes - used_bytes) FILTER (WHERE paid.expires_at <= p_at
                       AND paid.expires_at > coalesce(account.settled_at, '-infinity')), 0) AS lately,
                   min(paid.expires_at) FILTER (WHERE paid.expires_at > p_at AND used_bytes < bytes) AS next_expiry
            FROM public.top_ups AS paid WHERE paid.username = period.username) AS top_up
        CROSS JOIN LATERAL (
            SELECT count(*) AS tiers,
                   max(from_bytes) FILTER (WHERE from_bytes <= used.total) AS tier_from,
                   min(from_bytes) FILTER (WHERE from_bytes > used.total) AS next_tier
            FROM public.plan_tiers,
                 (SELECT greatest(coalesce(counter.bytes_in, 0), 0)::numeric
                       + greatest(coalesce(counter.bytes_out, 0), 0) AS total) AS used
            WHERE plan_tiers.plan_id = period.plan_id) AS tier
    ), carried AS MATERIALIZED (
        -- What rolled over is used first, so it is not carried twice. A period without usage has no account of its own.
        SELECT *, used_in::numeric + used_out AS used,
               CASE WHEN rollover_bytes IS NULL OR plan_bytes IS NULL OR account_plan IS DISTINCT FROM plan_id THEN 0
                    WHEN account_period = period_start THEN least(account_carried, rollover_bytes)
                    WHEN account_bytes IS NULL THEN 0
                    WHEN account_period = before_start THEN least(rollover_bytes, account_bytes,
                        greatest(0, account_bytes::numeric + account_carried - former_in - former_out))
                    WHEN account_period < before_start THEN least(rollover_bytes, account_bytes)
                    ELSE 0 END AS carried,
               -- A command that gives another plan books what is owed under the former one.
               CASE WHEN account_period < period_start AND account_plan IS NOT DISTINCT FROM plan_id
                    THEN greatest(0, radmeter.overage(account_bytes::numeric + account_carried,
                   account_in, account_out, former_in, former_out) - former_booked) ELSE 0 END AS debt_before
        FROM usage
    ), beyond AS MATERIALIZED (
        SELECT *, plan_bytes + carried AS base,
               radmeter.overage(plan_bytes + carried, plan_in, plan_out, used_in, used_out) AS overage
        FROM carried
    ), paid AS MATERIALIZED (
        -- expired_left, live_left: of top-ups, without what the period before has used of them.
        SELECT *,
               greatest(0, lately - debt_before) AS expired_left,
               greatest(0, live - greatest(0, debt_before - lately)) AS live_left,
               greatest(0, overage - booked) AS debt
        FROM beyond
    ), pool AS MATERIALIZED (
        SELECT *, booked + least(expired_left, debt) + live_left AS paid_or_left,
               greatest(0, live_left - greatest(0, debt - expired_left)) AS free
        FROM paid
    ), left_over AS MATERIALIZED (
        SELECT *, CASE WHEN base IS NOT NULL THEN greatest(0, base - used) + free END AS left_total,
               CASE WHEN plan_in IS NOT NULL THEN greatest(0, plan_in - used_in) + free END AS left_in,
               CASE WHEN plan_out IS NOT NULL THEN greatest(0, plan_out - used_out) + free END AS left_out,
               CASE WHEN quota_seconds IS NOT NULL THEN greatest(0, quota_seconds - used_seconds) END AS left_seconds,
               (SELECT step.speed_up IS NULL AND step.speed_down IS NULL FROM public.plan_tiers AS step
                WHERE step.plan_id = pool.plan_id AND step.from_bytes = tier_from) AS tier_off,
               (SELECT step.speed_up FROM public.plan_tiers AS step
                WHERE step.plan_id = pool.plan_id AND step.from_bytes = tier_from) AS tier_up,
               (SELECT step.speed_down FROM public.plan_tiers AS step
                WHERE step.plan_id = pool.plan_id AND step.from_bytes = tier_from) AS tier_down
        FROM pool
    ), judged AS MATERIALIZED (
        SELECT *, least(left_total, left_in, left_out) <= 0 AS no_bytes,
               greatest(radmeter.percent_used(used, left_total), radmeter.percent_used(used_in, left_in),
                        radmeter.percent_used(used_out, left_out),
                        radmeter.percent_used(used_seconds, left_seconds), 0)::smallint AS percent
        FROM left_over
    )
    -- An operator's own tables may have other types of text and numbers (schema/existing_tables.py).
    SELECT username::text, plan::text, plan_id::bigint, quota_type::text, timezone::text, period_start, period_end,
           period_ends_at,
           -- least() ignores NULL, and NULL is no limit.
           CASE WHEN base IS NOT NULL THEN least(base + paid_or_left, 9223372036854775807) END::bigint,
           least(used, 9223372036854775807)::bigint,
           CASE WHEN left_total IS NOT NULL THEN least(left_total, 9223372036854775807) END::bigint,
           used_in, used_out,
           CASE WHEN plan_in IS NOT NULL THEN least(plan_in + paid_or_left, 9223372036854775807) END::bigint,
           CASE WHEN plan_out IS NOT NULL THEN least(plan_out + paid_or_left, 9223372036854775807) END::bigint,
           CASE WHEN left_in IS NOT NULL THEN least(left_in, 9223372036854775807) END::bigint,
           CASE WHEN left_out IS NOT NULL THEN least(left_out, 9223372036854775807) END::bigint,
           quota_seconds, used_seconds, left_seconds, least(free, 9223372036854775807)::bigint, percent,
           CASE WHEN suspended_at IS NOT NULL THEN 'suspended'
                WHEN expires_at <= p_at THEN 'expired'
                WHEN no_bytes OR left_seconds = 0 OR tier_off THEN 'over'
                WHEN tier_from IS NOT NULL THEN 'throttled'
                WHEN percent >= 80 THEN 'warned'
                ELSE 'active' END,
           CASE WHEN suspended_at IS NOT NULL THEN 'suspended'
                WHEN expires_at <= p_at THEN 'expired'
                WHEN no_bytes OR tier_off THEN 'over'
                WHEN left_seconds = 0 THEN 'time'
                WHEN tier_from IS NOT NULL THEN 'throttled' END,
           CASE WHEN tier_from IS NOT NULL THEN coalesce(tier_up, judged.speed_up) ELSE judged.speed_up END,
           CASE WHEN tier_from IS NOT NULL THEN coalesce(tier_down, judged.speed_down) ELSE judged.speed_down END,
           max_sessions, session_timeout, idle_timeout, expires_at,
           -- A user who is over it is looked at with each packet, for the sessions that are open all the same. 0, not the
           -- present octets: else each packet would write the counter once more.
           CASE WHEN not_begun OR no_bytes OR tier_off OR suspended_at IS NOT NULL OR expires_at <= p_at
                    OR left_seconds = 0 THEN 0
                ELSE least(used + least(
                    left_total, left_in, left_out, next_tier - used,
                    radmeter.octets_until(80, used, left_total), radmeter.octets_until(95, used, left_total),
                    radmeter.octets_until(80, used_in, left_in), radmeter.octets_until(95, used_in, left_in),
                    radmeter.octets_until(80, used_out, left_out), radmeter.octets_until(95, used_out, left_out)),
                    9223372036854775807)::bigint END,
           least(CASE WHEN percent >= 80 OR tier_from IS NOT NULL OR no_bytes THEN period_ends_at END, next_expiry,
                 CASE WHEN expires_at > p_at THEN expires_at END,
                 -- When the seconds come to a limit or a warning, if the sessions that are online stay so. A session that
                 -- begins is noted (radmeter.note_session_starts). Without an open session no seconds are used.
                 CASE WHEN left_seconds > 0 AND open_sessions > 0 THEN p_at + interval '1 second'
                     * CASE WHEN running_sessions = 0 THEN 60
                            ELSE greatest(1, least(600, least(left_seconds,
                                radmeter.octets_until(80, used_seconds, left_seconds),
                                radmeter.octets_until(95, used_seconds, left_seconds)) / running_sessions)) END END),
           plan_bytes IS NOT NULL OR plan_in IS NOT NULL OR plan_out IS NOT NULL OR quota_seconds IS NOT NULL
               OR tiers > 0 OR not_begun OR expires_at IS NOT NULL OR suspended_at IS NOT NULL
               OR judged.speed_up IS NOT NULL OR judged.speed_down IS NOT NULL,
           least(carried, 9223372036854775807)::bigint,
           least(debt_before, 9223372036854775807)::bigint, least(debt, 9223372036854775807)::bigint,
           plan_bytes, plan_in, plan_out
    FROM judged;
END;
$$;
