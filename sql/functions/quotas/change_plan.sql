-- radmeter.change_plan(name, changes): changes a plan for all users who have it, at once. The triggers note the
-- users in radmeter.quota_change.
--   changes  JSON object of columns of plans, and "tiers" as radmeter.set_tiers takes them; null clears a value, an
--            absent one stays. With another quota_type and no anchor_day, anchor_day is 1.
-- If the period changes, what users have used stays in the period that counted it, and they begin the new one with 0.
-- Then top-ups first pay what they owe in the period so far, and nothing rolls over into the new one: the plan gets
-- another period_number, by which radmeter.quota_state takes the users' accounts for those of another plan. Only if there
-- are such top-ups, that takes the lock of radmeter.ingest.
-- Returns whether anything changed, how many users have the plan, and whether its period is another.
-- Writes plans, plan_tiers, audit_log, and what radmeter.apply_quotas writes.
-- SQLSTATE RM001, with the reason: there is no such plan, the new name is taken, the values do not go together, or
-- another transaction has been changing the plan for 10 seconds.
CREATE OR REPLACE FUNCTION radmeter.change_plan(p_name text, p_changes jsonb)
RETURNS TABLE (changed boolean, users bigint, period_changed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_plan public.plans%ROWTYPE;
    v_new public.plans%ROWTYPE;
    v_before jsonb;
    v_zone text := radmeter.setting_value('timezone');
    v_buyers text[];
BEGIN
    PERFORM radmeter.lock_plans(ARRAY[p_name], true);
    SELECT * INTO v_plan FROM public.plans WHERE name = p_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no plan "%": "radmeter plans list" lists them', p_name USING ERRCODE = 'RM001';
    END IF;
    v_before := radmeter.plan_values(v_plan);
    v_new := jsonb_populate_record(v_plan, p_changes - ARRAY['id', 'retired_at', 'period_number', 'tiers']);
    IF v_new.quota_type <> v_plan.quota_type AND NOT p_changes ? 'anchor_day' THEN
        v_new.anchor_day := 1;
    END IF;
    PERFORM radmeter.check_plan(v_new);
    IF v_new.timezone IS DISTINCT FROM v_plan.timezone AND NOT radmeter.is_time_zone(v_new.timezone) THEN
        RAISE EXCEPTION 'there is no time zone "%": give an IANA name, such as Europe/Berlin', v_new.timezone
            USING ERRCODE = 'RM001';
    END IF;
    period_changed := (v_new.quota_type, v_new.anchor_day, coalesce(v_new.timezone, v_zone))
        IS DISTINCT FROM (v_plan.quota_type, v_plan.anchor_day, coalesce(v_plan.timezone, v_zone));
    IF period_changed THEN
        v_buyers := ARRAY(
            SELECT username FROM public.subscribers AS subscriber
            WHERE plan_id = v_plan.id
              AND EXISTS (SELECT FROM public.top_ups AS top_up
                          WHERE top_up.username = subscriber.username AND top_up.used_bytes < top_up.bytes));
        IF v_buyers <> '{}' THEN
            PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
            PERFORM radmeter.apply_quotas(v_buyers, false);
        END IF;
        v_new.period_number := v_plan.period_number + 1;
    END IF;
    changed := v_new IS DISTINCT FROM v_plan;
    IF changed THEN
        BEGIN
            UPDATE public.plans SET
                name = v_new.name, quota_type = v_new.quota_type, anchor_day = v_new.anchor_day,
                timezone = v_new.timezone, quota_bytes = v_new.quota_bytes, quota_bytes_in = v_new.quota_bytes_in,
                quota_bytes_out = v_new.quota_bytes_out, quota_seconds = v_new.quota_seconds,
                speed_up = v_new.speed_up, speed_down = v_new.speed_down, max_sessions = v_new.max_sessions,
                session_timeout = v_new.session_timeout, idle_timeout = v_new.idle_timeout,
                valid_seconds = v_new.valid_seconds, rollover_bytes = v_new.rollover_bytes, price = v_new.price,
                period_number = v_new.period_number, role = v_new.role
            WHERE id = v_plan.id;
        EXCEPTION WHEN unique_violation THEN
            RAISE EXCEPTION 'there is a plan "%" already: give another name', v_new.name USING ERRCODE = 'RM001';
        END;
    END IF;
    IF p_changes ? 'tiers' THEN
        changed := radmeter.set_tiers(v_plan.id, p_changes -> 'tiers') OR changed;
    END IF;
    SELECT count(DISTINCT holder.username) INTO users
    FROM (SELECT username FROM public.subscribers WHERE plan_id = v_plan.id
          UNION ALL SELECT username FROM public.subscriber_plans WHERE plan_id = v_plan.id) AS holder;
    IF changed THEN
        PERFORM radmeter.audit('plans set', jsonb_build_object(
            'before', v_before, 'users', users,
            'after', (SELECT radmeter.plan_values(plan) FROM public.plans AS plan WHERE plan.id = v_plan.id)));
    END IF;
    RETURN NEXT;
END;
$$;
