-- radmeter.apply_quotas(usernames, counted): looks at users whose usage, plan, top-ups or time has come to a limit, and
-- does what follows: requests to the routers of their open sessions into radmeter.disconnect_queue, notices, and when to
-- look again.
--   counted  true: the users have just been counted for, so the validity of a plan from first use begins
-- Users are judged by the usage of the present period and by now. Late packets of an earlier period change nothing.
-- A user without limits, or who is no subscriber, loses the account. Its open sessions were told no limit and no speed.
-- Limits that changed are sent where a CoA-Request can change them. That is so if
-- the plan, the top-ups or the period changed, not if the rest is shared with other sessions than before.
-- A request that ends a session or changes a speed, and failed, is made again after 5 minutes, then after twice as long
-- each time it fails for that session, up to a day.
-- Locks the users' counters of the present period first and their accounts next, both in the order of the names, as a
-- trigger that counts does.
-- No part of the result is joined with another in a nested loop: a batch can bring a thousand users, at a month's start.
-- LATERAL .. OFFSET 0: tables are read by their index on the name, also if they were empty when the plan was made.
-- An error of one user stops nobody else. The users of a set that fails are looked at in halves, down to the one. That user
-- is noted in radmeter.quota_change with the error, and looked at again after 5 minutes, not with each packet.
-- The instant is that of the clock once the locks are held: a transaction that began earlier, and waited for one that
-- closed the period, does not open it again. If the clock was set back by less than a minute, an account stays at the
-- instant it was settled at. If by more, it follows the clock.
-- A user who is over the limit at a router that takes no requests comes here with each packet. Nothing is written then,
-- unless something has changed.
-- Called by radmeter.count_inserted, radmeter.count_updated, radmeter.apply_due_quotas.
-- Writes subscribers, top_ups, user_quota_usage, radmeter.quota_account, quota_booked, disconnect_queue, quota_notice. Notifies the
-- channel radmeter_quota if there is something to send.
CREATE OR REPLACE FUNCTION radmeter.apply_quotas(p_usernames text[], p_counted boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_names text[] := ARRAY(SELECT DISTINCT unnest(p_usernames) AS name ORDER BY name);
    v_zone text := radmeter.setting_value('timezone');
    v_clock timestamptz;
    v_now timestamptz;
    v_ahead text[];  -- users whose accounts were settled later than the clock says
    v_requests bigint;
    v_notices bigint;
BEGIN
    v_clock := clock_timestamp();
    -- As radmeter.user_period_start, which would be called once for each user.
    PERFORM FROM unnest(v_names) AS asked (username)
    LEFT JOIN public.subscribers AS subscriber ON subscriber.username = asked.username
    LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
    JOIN public.user_quota_usage AS usage
        ON usage.username = asked.username
           AND usage.period_start = radmeter.period_start(plan.quota_type, plan.anchor_day, subscriber.quota_start,
                   (v_clock AT TIME ZONE coalesce(plan.timezone, v_zone))::date)
    ORDER BY usage.username FOR UPDATE OF usage;
    PERFORM FROM unnest(v_names) AS asked (username) CROSS JOIN LATERAL (
        SELECT FROM radmeter.quota_account WHERE quota_account.username = asked.username FOR UPDATE) AS account;
    v_clock := clock_timestamp();
    SELECT array_agg(username), max(settled_at) INTO v_ahead, v_now FROM radmeter.quota_account
    WHERE username = ANY (v_names) AND settled_at > v_clock AND settled_at < v_clock + interval '1 minute';
    IF v_ahead IS NULL THEN
        v_now := v_clock;
    ELSIF cardinality(v_ahead) < cardinality(v_names) THEN
        -- Each user has an instant of its own, and gives it to nobody whose account is not ahead.
        PERFORM radmeter.apply_quotas(v_ahead, p_counted);
        v_names := ARRAY(SELECT name FROM unnest(v_names) AS name WHERE name <> ALL (v_ahead));
        v_now := v_clock;
    END IF;
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
               account.applied_at IS NOT NULL AS known, account.status AS old_status, account.period_start AS old_period,
               (found.speed_up, found.speed_down) IS DISTINCT FROM (account.speed_up, account.speed_down) AS new_speeds,
               -- Sessions that began before one of both were told other limits, at their login or by a request.
               CASE WHEN account.period_start <> found.period_start
                    THEN radmeter.day_begins(found.period_start, found.timezone) END AS new_period_at,
               CASE WHEN account.applied_at IS NULL OR account.period_start <> found.period_start
                         OR (found.quota_bytes, found.quota_in, found.quota_out, found.quota_seconds) IS DISTINCT FROM
                            (account.quota_bytes, account.quota_in, account.quota_out, account.quota_seconds)
                    THEN coalesce((SELECT max(noted.at) FROM radmeter.quota_change AS noted
                                   WHERE noted.username = found.username AND noted.error IS NULL AND NOT noted.everybody),
                                  CASE WHEN NOT p_counted OR account.period_start = found.period_start THEN now() END)
                    END AS changed_at,
               array_remove(ARRAY[
                   CASE WHEN coalesce(found.quota_bytes, account.quota_bytes) IS NOT NULL THEN 'octets_total' END,
                   CASE WHEN coalesce(found.quota_in, account.quota_in) IS NOT NULL THEN 'octets_in' END,
                   CASE WHEN coalesce(found.quota_out, account.quota_out) IS NOT NULL THEN 'octets_out' END,
                   CASE WHEN coalesce(found.quota_seconds, account.quota_seconds) IS NOT NULL THEN 'seconds' END],
                   NULL) AS limits,
               coalesce(account.status IN ('over', 'expired', 'suspended'), false) AS old_blocked,
               CASE WHEN account.period_start = found.period_start THEN account.percent ELSE 0 END AS old_level,
               account.quota_bytes AS old_bytes, account.quota_in AS old_in, account.quota_out AS old_out,
               account.quota_seconds AS old_seconds, account.speed_up AS old_up, account.speed_down AS old_down,
               (SELECT min(last.ended_at + interval '5 minutes' * least(2 ^ least(last.failures - 1, 10), 288))
                FROM (SELECT DISTINCT ON (each.radacctid) each.radacctid, each.state, each.ended_at,
                             count(*) FILTER (WHERE each.state = 'failed') OVER (PARTITION BY each.radacctid) AS failures
                      FROM radmeter.disconnect_queue AS each
                      WHERE each.username = found.username AND each.requested_by IS NULL
                        AND each.reason IN ('throttled', 'restored', 'speeds')
                      ORDER BY each.radacctid, each.id DESC) AS last
                WHERE last.state = 'failed'
                  AND EXISTS (SELECT FROM public.radacct AS open
                              WHERE open.radacctid = last.radacctid AND open.acctstoptime IS NULL)) AS again_at,
               account.settled_at, account.applied_at,
               -- settled_at says until when top-ups that expired have paid, and that a period has begun. Else it may stay,
               -- so that an account stays as it is.
               account.settled_at > v_now IS NOT FALSE OR account.period_start <> found.period_start OR EXISTS (
                   SELECT FROM public.top_ups AS bought
                   WHERE bought.username = found.username AND bought.used_bytes < bought.bytes
                     AND bought.expires_at > account.settled_at) AS settles
        FROM radmeter.quota_state(v_names, v_now) AS found
        LEFT JOIN LATERAL (
            SELECT * FROM radmeter.quota_account AS each WHERE each.username = found.username OFFSET 0) AS account ON true
    ), payment AS MATERIALIZED (
        -- What a period used beyond its quota, from the top-ups that expire first. One that expired since the last
        -- booking still pays what was used before.
        SELECT id, username, old_period, period_start, unbooked_before, unbooked,
               least(left_over, greatest(0, debt - coalesce(before, 0))) AS taken
        FROM (
            SELECT top_up.id, top_up.username, top_up.bytes - top_up.used_bytes AS left_over,
                   state.old_period, state.period_start, state.unbooked_before, state.unbooked,
                   state.unbooked_before::numeric + state.unbooked AS debt,
                   sum(top_up.bytes - top_up.used_bytes) OVER (
                       PARTITION BY top_up.username ORDER BY top_up.expires_at NULLS LAST, NOT top_up.renewal, top_up.id
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
            FROM state CROSS JOIN LATERAL (
                SELECT bought.* FROM public.top_ups AS bought WHERE bought.username = state.username OFFSET 0) AS top_up
            WHERE (state.unbooked_before > 0 OR state.unbooked > 0) AND top_up.used_bytes < top_up.bytes
              AND (top_up.expires_at IS NULL OR top_up.expires_at > coalesce(state.settled_at, '-infinity'))
        ) AS ordered
    ), booked AS (
        UPDATE public.top_ups AS top_up SET used_bytes = top_up.used_bytes + payment.taken
        FROM payment WHERE payment.id = top_up.id AND payment.taken > 0
    ), paid AS (
        -- First what is owed of the period before.
        INSERT INTO radmeter.quota_booked AS counter (username, period_start, booked_bytes)
        SELECT username, period_start, least(octets, 9223372036854775807) FROM (
            SELECT username, old_period AS period_start, least(sum(taken), unbooked_before) AS octets
            FROM payment GROUP BY username, old_period, unbooked_before
            UNION ALL
            SELECT username, period_start, least(sum(taken) - unbooked_before, unbooked)
            FROM payment GROUP BY username, period_start, unbooked_before, unbooked) AS part
        WHERE octets > 0 ORDER BY username, period_start
        ON CONFLICT (username, period_start) DO UPDATE SET
            booked_bytes = least(counter.booked_bytes::numeric + excluded.booked_bytes, 9223372036854775807)
    ), kept AS (
        INSERT INTO radmeter.quota_account AS account (username, plan_id, period_number, period_start, carried_bytes,
            settled_at, plan_bytes, plan_in, plan_out, status, percent, quota_bytes, quota_in, quota_out,
            quota_seconds, speed_up, speed_down, due_at, applied_at)
        SELECT username, plan_id, (SELECT plan.period_number FROM public.plans AS plan WHERE plan.id = state.plan_id),
               period_start, carried_bytes,
               CASE WHEN settles THEN v_now ELSE settled_at END, plan_bytes, plan_in, plan_out, status, level,
               -- A session that is to be disconnected is told nothing else.
               CASE WHEN blocked THEN old_bytes ELSE quota_bytes END, CASE WHEN blocked THEN old_in ELSE quota_in END,
               CASE WHEN blocked THEN old_out ELSE quota_out END,
               CASE WHEN blocked THEN old_seconds ELSE quota_seconds END,
               CASE WHEN blocked THEN old_up ELSE speed_up END, CASE WHEN blocked THEN old_down ELSE speed_down END,
               least(due_at, CASE WHEN again_at > now() THEN again_at END), coalesce(applied_at, now())
        FROM state WHERE limited ORDER BY username
        ON CONFLICT (username) DO UPDATE SET
            plan_id = excluded.plan_id, period_number = excluded.period_number, period_start = excluded.period_start,
            carried_bytes = excluded.carried_bytes, settled_at = excluded.settled_at, plan_bytes = excluded.plan_bytes,
            plan_in = excluded.plan_in, plan_out = excluded.plan_out, status = excluded.status,
            percent = excluded.percent, quota_bytes = excluded.quota_bytes, quota_in = excluded.quota_in,
            quota_out = excluded.quota_out, quota_seconds = excluded.quota_seconds, speed_up = excluded.speed_up,
            speed_down = excluded.speed_down, due_at = excluded.due_at, applied_at = excluded.applied_at
        WHERE account IS DISTINCT FROM excluded
    ), forgotten AS (
        DELETE FROM radmeter.quota_account
        WHERE username = ANY (v_names) AND username NOT IN (SELECT state.username FROM state WHERE limited)
    ), next AS (
        UPDATE public.user_quota_usage AS usage SET next_check = wanted.next_total
        FROM (SELECT username, period_start, next_total FROM state
              UNION ALL
              SELECT name, radmeter.user_period_start(name, v_now), NULL FROM unnest(v_names) AS other (name)
              WHERE name NOT IN (SELECT username FROM state)) AS wanted
        WHERE usage.username = wanted.username AND usage.period_start = wanted.period_start
          AND usage.next_check IS DISTINCT FROM wanted.next_total
    ), session AS MATERIALIZED (
        SELECT open.radacctid, state.*, last.reason AS failed_reason, open.router_id,
               state.new_speeds AND (state.known OR open.before_change) AS wants_speeds,
               state.known AND NOT state.blocked
                   AND (open.acctstarttime < state.new_period_at OR open.before_change) AS wants_limits
        FROM state CROSS JOIN LATERAL (
            SELECT radacctid, router_id, acctstarttime,
                   -- Routers give whole seconds of the start.
                   arrived_at < state.changed_at OR acctstarttime < date_trunc('second', state.changed_at) AS before_change
            FROM public.radacct AS each
            WHERE each.username = state.username AND each.acctstoptime IS NULL OFFSET 0) AS open
        LEFT JOIN LATERAL (
            SELECT each.reason, each.state FROM radmeter.disconnect_queue AS each
            WHERE state.again_at <= now() AND each.username = state.username AND each.radacctid = open.radacctid
              AND each.requested_by IS NULL AND each.reason IN ('throttled', 'restored', 'speeds')
            ORDER BY each.id DESC LIMIT 1) AS last ON last.state = 'failed'
        WHERE blocked OR new_speeds OR coalesce(new_period_at, changed_at) IS NOT NULL OR again_at <= now()
    ), disconnects AS (
        -- Not again at once if a request was given up: radmeter.apply_due_quotas tries again later.
        INSERT INTO radmeter.disconnect_queue AS request (radacctid, username, act, reason)
        SELECT session.radacctid, session.username, 'disconnect', session.reason
        FROM session
        WHERE session.blocked
          AND NOT EXISTS (SELECT FROM (
                              SELECT max(each.ended_at) AS ended_at, count(*) FILTER (WHERE each.state = 'failed') AS failures
                              FROM radmeter.disconnect_queue AS each
                              WHERE each.username = session.username AND each.radacctid = session.radacctid
                                AND each.act = 'disconnect' AND each.state <> 'dropped') AS lately
                          WHERE lately.ended_at
                                > now() - interval '5 minutes' * least(2 ^ least(greatest(failures - 1, 0), 10), 288))
        ORDER BY session.radacctid
        ON CONFLICT (radacctid, act) WHERE ended_at IS NULL DO NOTHING
        RETURNING 1
    ), changes AS (
        INSERT INTO radmeter.disconnect_queue AS request (radacctid, username, act, reason)
        SELECT session.radacctid, session.username, 'coa',
               CASE WHEN session.wants_speeds IS NOT TRUE THEN coalesce(session.failed_reason, 'limits')
                    WHEN session.status = 'throttled' THEN 'throttled'
                    WHEN session.old_status = 'throttled' THEN 'restored' ELSE 'speeds' END
        FROM session
        WHERE NOT session.blocked
          AND (session.wants_speeds OR session.failed_reason IS NOT NULL
               OR CASE WHEN session.wants_limits THEN radmeter.takes_limits(session.router_id, session.limits) END)
        ORDER BY session.radacctid
        -- Attributes are computed when it is sent. If it has been, it is sent once more. One that has a speed to change
        -- goes on with that.
        ON CONFLICT (radacctid, act) WHERE ended_at IS NULL DO UPDATE SET
            reason = CASE excluded.reason WHEN 'limits' THEN request.reason ELSE excluded.reason END,
            state = 'waiting', attempts = 0, naks = 0, acks = 0, next_try_at = now()
        RETURNING 1
    ), superseded AS (
        UPDATE radmeter.disconnect_queue AS request SET
            state = 'dropped', ended_at = now(),
            error = CASE act WHEN 'coa' THEN 'the user is to be disconnected' ELSE 'the user is served again' END
        WHERE request.id = ANY (ARRAY(
                SELECT waiting.id FROM state CROSS JOIN LATERAL (
                    SELECT id, act, reason, requested_by FROM radmeter.disconnect_queue AS each
                    -- Not "IS NULL", for which there is an index over all users.
                    WHERE each.username = state.username AND coalesce(each.ended_at, 'infinity') = 'infinity'
                    OFFSET 0) AS waiting
                WHERE state.blocked AND waiting.act = 'coa'
                   -- An operator's own request stays, whatever its reason.
                   OR NOT state.blocked AND waiting.act = 'disconnect' AND waiting.requested_by IS NULL
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
EXCEPTION WHEN OTHERS THEN
    -- Nobody's: the connection, the transaction, concurrent writers, resources, the schema, the server. The caller's to
    -- try again.
    IF left(SQLSTATE, 2) IN ('08', '25', '40', '42', '53', '55', '57', '58') THEN
        RAISE;
    END IF;
    v_names := ARRAY(SELECT DISTINCT unnest(p_usernames) AS name ORDER BY name);
    IF cardinality(v_names) > 1 THEN
        PERFORM radmeter.apply_quotas(v_names[:cardinality(v_names) / 2], p_counted);
        PERFORM radmeter.apply_quotas(v_names[cardinality(v_names) / 2 + 1:], p_counted);
    ELSE
        RAISE WARNING 'quotas of a user cannot be looked at: %', SQLERRM;
        INSERT INTO radmeter.quota_change (username, at, error)
        VALUES (v_names[1], now() + interval '5 minutes', left(SQLERRM, 500))
        ON CONFLICT (username) WHERE error IS NOT NULL DO UPDATE SET at = excluded.at, error = excluded.error;
        UPDATE public.user_quota_usage SET next_check = NULL
        WHERE ctid = ANY (ARRAY(SELECT usage.ctid FROM public.user_quota_usage AS usage
                                WHERE usage.username = v_names[1] AND usage.next_check IS NOT NULL
                                FOR UPDATE SKIP LOCKED));
    END IF;
END;
$$;
