-- radmeter.assign_plan(username, plan, also, without, renew): changes a user's plans, from now on.
--   plan     the plan whose period, time zone and speeds count; NULL: it stays
--   also     names of further plans to give, whose quotas add up
--   without  names of further plans to take away
--   renew    begin the validity, or the one-time period, anew although the plan stays. A period begins with a day, so on
--            the day on which a one-time period began, what is used of it is given again as a top-up instead. Afterwards
--            there is what the plan gives, and what was bought: without use, a second renewal changes nothing
-- What the user used stays in the period that counted it. If the new plan has the same period, it goes on; else the
-- user begins with 0. Top-ups stay, and first pay what is owed under the plan so far. Nothing rolls over into another
-- plan. Takes the lock of radmeter.ingest.
-- Returns whether anything changed. Writes subscribers, subscriber_plans, top_ups, radmeter.plan_history, audit_log, and
-- what radmeter.apply_quotas writes.
-- SQLSTATE RM001, with the reason.
CREATE OR REPLACE FUNCTION radmeter.assign_plan(
    p_username text, p_plan text, p_also text[], p_without text[], p_renew boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before jsonb;
    v_after jsonb;
    v_plan public.plans%ROWTYPE;
    v_given bigint;
    v_start date;
    v_today date;
    v_first_used_at timestamptz;
    v_used bigint;
    v_renewed boolean := false;
    v_name text;
BEGIN
    PERFORM radmeter.lock_plans(p_also || p_plan, false);
    PERFORM radmeter.lock_subscriber(p_username);
    v_before := radmeter.subscriber_values(p_username);
    SELECT plan.* INTO v_plan FROM public.subscribers JOIN public.plans AS plan ON plan.id = plan_id
    WHERE username = p_username;
    IF p_plan <> v_plan.name THEN
        v_given := radmeter.plan_to_give(p_plan);
        PERFORM radmeter.give_plan(ARRAY[p_username], ARRAY[v_given]);
    ELSIF p_renew THEN
        SELECT quota_start, (now() AT TIME ZONE coalesce(v_plan.timezone, radmeter.setting_value('timezone')))::date,
               first_used_at
        INTO v_start, v_today, v_first_used_at FROM public.subscribers WHERE username = p_username;
        v_renewed := v_start <> v_today OR v_first_used_at IS NOT NULL;
        IF v_plan.quota_type <> 'one-time' AND v_plan.valid_seconds IS NULL THEN
            RAISE EXCEPTION 'the plan "%" has neither a validity nor a one-time quota, so nothing can be renewed: '
                '"radmeter users top-up" gives more', v_plan.name USING ERRCODE = 'RM001';
        ELSIF v_plan.quota_type = 'one-time' AND v_start = v_today THEN
            IF v_plan.quota_bytes IS NULL OR v_plan.quota_bytes_in IS NOT NULL OR v_plan.quota_bytes_out IS NOT NULL
               OR v_plan.quota_seconds IS NOT NULL
               OR EXISTS (SELECT FROM public.plan_tiers AS tier WHERE tier.plan_id = v_plan.id) THEN
                RAISE EXCEPTION 'the one-time period of "%" began today, and a period begins with a day: '
                    '"radmeter users top-up" gives more', p_username USING ERRCODE = 'RM001';
            END IF;
            -- lock_subscriber has booked what top-ups can pay: unbooked is what the user is over everything. What is left
            -- of earlier renewals has not been used.
            SELECT greatest(0, least(state.used_bytes, v_plan.quota_bytes) - (
                       SELECT coalesce(sum(earlier.bytes - earlier.used_bytes), 0) FROM public.top_ups AS earlier
                       WHERE earlier.username = p_username AND earlier.renewal)) + state.unbooked INTO v_used
            FROM radmeter.quota_state(ARRAY[p_username], now()) AS state;
            IF v_used > 0 THEN
                INSERT INTO public.top_ups (username, bytes, added_by, note, renewal)
                VALUES (p_username, v_used, coalesce(nullif(current_setting('radmeter.operator', true), ''), session_user),
                        'renewed on the day on which the period began', true);
                v_renewed := true;
            END IF;
        END IF;
        PERFORM radmeter.give_plan(ARRAY[p_username], ARRAY[v_plan.id]);
        IF v_renewed THEN
            -- A one-time plan that is given again costs its price again.
            INSERT INTO radmeter.plan_history (username, plan_id, at, held, main, tenant_id)
            SELECT p_username, v_plan.id, clock_timestamp(), held, true, CASE WHEN held THEN (
                       SELECT tenant_id FROM public.subscribers WHERE username = p_username) END
            FROM (VALUES (false), (true)) AS each (held);
        END IF;
    END IF;
    FOREACH v_name IN ARRAY p_without LOOP
        DELETE FROM public.subscriber_plans AS further USING public.plans AS plan
        WHERE further.username = p_username AND plan.name = v_name AND further.plan_id = plan.id;
        IF NOT FOUND THEN
            RAISE EXCEPTION '"%" has no further plan "%": there are %', p_username, v_name,
                coalesce((SELECT string_agg(name, ', ')
                          FROM jsonb_array_elements_text(v_before -> 'also') AS name), 'none')
                USING ERRCODE = 'RM001';
        END IF;
    END LOOP;
    FOREACH v_name IN ARRAY p_also LOOP
        IF v_name = coalesce(p_plan, v_plan.name) THEN
            RAISE EXCEPTION 'the plan "%" is the own plan of "%": a further plan is another one', v_name, p_username
                USING ERRCODE = 'RM001';
        END IF;
        INSERT INTO public.subscriber_plans (username, plan_id) VALUES (p_username, radmeter.plan_to_give(v_name))
        ON CONFLICT DO NOTHING;
    END LOOP;
    v_after := radmeter.subscriber_values(p_username);
    IF v_after = v_before AND NOT v_renewed THEN
        RETURN false;
    END IF;
    PERFORM radmeter.apply_quotas(ARRAY[p_username], false);
    PERFORM radmeter.audit('users assign',
        jsonb_build_object('before', v_before, 'after', v_after, 'renew', p_renew));
    RETURN true;
END;
$$;
