-- radmeter.apply_quotas(usernames, counted): looks at users whose usage, plan, top-ups or time has come to a limit, and
-- does what follows: requests to the routers of their open sessions into radmeter.disconnect_queue, notices, and when to
-- look again.
--   counted  true: the users have just been counted for, so the validity of a plan from first use begins
-- Users are judged by the usage of the present period and by now. Late packets of an earlier period change nothing.
-- A user without limits, or who is no subscriber, loses the account.
-- Locks the users' counters of the present period first and their accounts next, both in the order of the names, as a
-- trigger that counts does.
-- No part of the result is joined with another in a nested loop: a batch can bring a thousand users, at a month's start.
-- LATERAL .. OFFSET 0: tables are read by their index on the name, also if they were empty when the plan was made.
-- Called by radmeter.count_inserted, radmeter.count_updated, radmeter.apply_due_quotas.
-- Writes subscribers, top_ups, user_quota_usage, radmeter.quota_account, disconnect_queue, quota_notice. Notifies the
-- channel radmeter_quota if there is something to send.
CREATE OR REPLACE FUNCTION radmeter.apply_quotas(p_usernames text[], p_counted boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
    v_names text[] := ARRAY(SELECT DISTINCT unnest(p_usernames) AS name ORDER BY name);
    v_now timestamptz;
    v_requests bigint;
    v_notices bigint;
BEGIN
    PERFORM FROM unnest(v_names) AS asked (username)
    JOIN public.user_quota_usage AS usage
        ON usage.username = asked.username
           AND usage.period_start = radmeter.user_period_start(asked.username, now())
    ORDER BY usage.username FOR UPDATE OF usage;
    PERFORM FROM radmeter.quota_account WHERE username = ANY (v_names) ORDER BY username FOR UPDATE;
    -- now() is when this transaction began. One that began later may have come first, and have closed the period.
    SELECT greatest(now(), max(settled_at)) INTO v_now FROM radmeter.quota_account WHERE username = ANY (v_names);
    IF p_counted THEN
        UPDATE public.subscribers AS subscriber SET first_used_at = now()
        FROM public.plans AS plan
        WHERE subscriber.username = ANY (v_names) AND subscriber.first_used_at IS NULL
          AND plan.id = subscriber.plan_id AND plan.valid_seconds IS NOT NULL;
    END IF;

    WITH state AS MATERIALIZED (
        SELECT found.*, found.status IN ('over', 'expired', 'suspended') AS blocked,
               -- To a user who is suspended or expired nothing is announced, so what was announced stays so.
               CASE WHEN found.status = 'over' THEN 100
                    WHEN found.status IN ('suspended', 'expired')
                    THEN CASE WHEN account.period_start = found.period_start THEN account.percent ELSE 0 END
                    WHEN found.percent >= 95 THEN 95 WHEN found.percent >= 80 THEN 80 ELSE 0 END AS level,
               account.applied_at IS NOT NULL AS known, account.status AS old_status,
               coalesce(account.status IN ('over', 'expired', 'suspended'), false) AS old_blocked,
               CASE WHEN account.period_start = found.period_start THEN account.percent ELSE 0 END AS old_level,
               account.speed_up AS old_up, account.speed_down AS old_down, account.settled_at
        FROM radmeter.quota_state(v_names, v_now) AS found
        LEFT JOIN radmeter.quota_account AS account USING (username)
    ), payment AS (
        -- What a period used beyond its quota, from the top-ups that expire first. One that expired since the last
        -- booking still pays what was used before.
        SELECT id, username, least(left_over, greatest(0, debt - coalesce(before, 0))) AS taken
        FROM (
            SELECT top_up.id, top_up.username, top_up.bytes - top_up.used_bytes AS left_over,
                   state.unbooked_before + state.unbooked AS debt,
                   sum(top_up.bytes - top_up.used_bytes) OVER (
                       PARTITION BY top_up.username ORDER BY top_up.expires_at NULLS LAST, top_up.id
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
            FROM state CROSS JOIN LATERAL (
                SELECT bought.* FROM public.top_ups AS bought WHERE bought.username = state.username OFFSET 0) AS top_up
            WHERE state.unbooked_before + state.unbooked > 0 AND top_up.used_bytes < top_up.bytes
              AND (top_up.expires_at IS NULL OR top_up.expires_at > coalesce(state.settled_at, '-infinity'))
        ) AS ordered
    ), booked AS (
        UPDATE public.top_ups AS top_up SET used_bytes = top_up.used_bytes + payment.taken
        FROM payment WHERE payment.id = top_up.id AND payment.taken > 0
    ), kept AS (
        INSERT INTO radmeter.quota_account AS account (username, plan_id, period_number, period_start, carried_bytes, booked_bytes, settled_at,
            status, percent, quota_bytes, speed_up, speed_down, due_at, applied_at)
        SELECT username, plan_id, (SELECT plan.period_number FROM public.plans AS plan WHERE plan.id = state.plan_id),
               period_start, carried_bytes,
               state.booked_bytes + greatest(0, least(state.unbooked, coalesce((
                   SELECT sum(taken) FROM payment WHERE payment.username = state.username), 0) - state.unbooked_before)),
               v_now, status, level, quota_bytes, speed_up, speed_down, due_at, now()
        FROM state WHERE limited ORDER BY username
        ON CONFLICT (username) DO UPDATE SET
            plan_id = excluded.plan_id, period_number = excluded.period_number, period_start = excluded.period_start, carried_bytes = excluded.carried_bytes,
            booked_bytes = excluded.booked_bytes, settled_at = excluded.settled_at, status = excluded.status,
            percent = excluded.percent, quota_bytes = excluded.quota_bytes, speed_up = excluded.speed_up,
            speed_down = excluded.speed_down, due_at = excluded.due_at, applied_at = excluded.applied_at
    ), forgotten AS (
        DELETE FROM radmeter.quota_account
        WHERE username = ANY (v_names) AND username NOT IN (SELECT state.username FROM state WHERE limited)
    ), former AS (
        -- Not if another writer has it: late packets are looked at in vain then, which does no harm.
        UPDATE public.user_quota_usage SET next_check = NULL
        WHERE ctid = ANY (ARRAY(
            SELECT usage.ctid FROM radmeter.quota_account AS account
            JOIN public.user_quota_usage AS usage USING (username, period_start)
            WHERE account.username = ANY (v_names) AND usage.next_check IS NOT NULL
              AND (usage.username, usage.period_start) NOT IN (SELECT state.username, state.period_start FROM state)
            FOR UPDATE OF usage SKIP LOCKED))
    ), next AS (
        UPDATE public.user_quota_usage AS usage SET next_check = wanted.next_total
        FROM (SELECT username, period_start, next_total FROM state
              UNION ALL
              SELECT name, radmeter.user_period_start(name, now()), NULL FROM unnest(v_names) AS other (name)
              WHERE name NOT IN (SELECT username FROM state)) AS wanted
        WHERE usage.username = wanted.username AND usage.period_start = wanted.period_start
          AND usage.next_check IS DISTINCT FROM wanted.next_total
    ), session AS MATERIALIZED (
        SELECT open.radacctid, state.*
        FROM state CROSS JOIN LATERAL (
            SELECT radacctid FROM public.radacct AS each
            WHERE each.username = state.username AND each.acctstoptime IS NULL OFFSET 0) AS open
        WHERE blocked OR old_blocked OR known AND (speed_up, speed_down) IS DISTINCT FROM (old_up, old_down)
    ), disconnects AS (
        -- Not again at once if a request was given up: radmeter.apply_due_quotas tries again later.
        INSERT INTO radmeter.disconnect_queue AS request (radacctid, username, act, reason)
        SELECT session.radacctid, session.username, 'disconnect', session.reason
        FROM session
        WHERE session.blocked
          AND NOT EXISTS (SELECT FROM radmeter.disconnect_queue AS lately
                          WHERE lately.username = session.username AND lately.radacctid = session.radacctid
                            AND lately.act = 'disconnect' AND lately.state <> 'dropped'
                            -- Not "ended_at >", for which there is an index over all users.
                            AND coalesce(lately.ended_at, '-infinity') > now() - interval '5 minutes' OFFSET 0)
        ORDER BY session.radacctid
        ON CONFLICT (radacctid, act) WHERE ended_at IS NULL DO NOTHING
        RETURNING 1
    ), changes AS (
        INSERT INTO radmeter.disconnect_queue AS request (radacctid, username, act, reason)
        SELECT session.radacctid, session.username, 'coa',
               CASE WHEN session.status = 'throttled' THEN 'throttled'
                    WHEN session.old_status = 'throttled' THEN 'restored' ELSE 'limits' END
        FROM session
        WHERE NOT session.blocked AND session.known
          AND (session.speed_up, session.speed_down) IS DISTINCT FROM (session.old_up, session.old_down)
        ORDER BY session.radacctid
        -- Attributes are computed when it is sent. If it has been, it is sent once more.
        ON CONFLICT (radacctid, act) WHERE ended_at IS NULL DO UPDATE SET
            reason = excluded.reason, state = 'waiting', attempts = 0, next_try_at = now()
        RETURNING 1
    ), superseded AS (
        UPDATE radmeter.disconnect_queue AS request SET
            state = 'dropped', ended_at = now(),
            error = CASE act WHEN 'coa' THEN 'the user is to be disconnected' ELSE 'the user is served again' END
        WHERE request.id = ANY (ARRAY(
                SELECT waiting.id FROM state CROSS JOIN LATERAL (
                    SELECT id, act, reason FROM radmeter.disconnect_queue AS each
                    -- Not "IS NULL", for which there is an index over all users.
                    WHERE each.username = state.username AND coalesce(each.ended_at, 'infinity') = 'infinity'
                    OFFSET 0) AS waiting
                WHERE state.blocked AND waiting.act = 'coa'
                   OR NOT state.blocked AND waiting.act = 'disconnect'
                      AND waiting.reason IN ('over', 'time', 'expired', 'suspended')))
          AND request.ended_at IS NULL AND request.state = 'waiting'
    ), notices AS (
        INSERT INTO radmeter.quota_notice (username, kind, percent, period_start, detail)
        SELECT username, kind, level, period_start, jsonb_build_object(
                   'plan', plan, 'status', status, 'period_end', period_end, 'timezone', timezone,
                   'quota_bytes', quota_bytes, 'used_bytes', used_bytes, 'remaining_bytes', remaining_bytes,
                   'quota_seconds', quota_seconds, 'used_seconds', used_seconds)
        FROM (SELECT *, CASE WHEN status = 'over' AND old_level < 100 THEN 'over'
                             WHEN NOT blocked AND old_blocked THEN 'restored'
                             WHEN NOT blocked AND level > old_level THEN 'warned' END AS kind
              FROM state) AS told
        WHERE kind IS NOT NULL ORDER BY username
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM disconnects) + (SELECT count(*) FROM changes), (SELECT count(*) FROM notices)
    INTO v_requests, v_notices;
    IF v_requests + v_notices > 0 THEN
        PERFORM pg_notify('radmeter_quota', '');
    END IF;
END;
$$;
