-- radmeter.add_plan(plan): adds a plan.
--   plan  JSON object of the columns of plans, and "tiers" as radmeter.set_tiers takes them; an absent value is the
--         default of its column
-- Returns plans.id. Writes plans, plan_tiers, audit_log.
-- SQLSTATE RM001, with the reason: there is a plan of this name, or the values do not go together.
CREATE OR REPLACE FUNCTION radmeter.add_plan(p_plan jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_plan public.plans%ROWTYPE;
BEGIN
    v_plan := jsonb_populate_record(NULL::public.plans, p_plan);
    v_plan.quota_type := coalesce(v_plan.quota_type, 'monthly');
    v_plan.anchor_day := coalesce(v_plan.anchor_day, 1);
    v_plan.price := coalesce(v_plan.price, 0);
    PERFORM radmeter.check_plan(v_plan);
    IF NOT radmeter.is_time_zone(v_plan.timezone) THEN
        RAISE EXCEPTION 'there is no time zone "%": give an IANA name, such as Europe/Berlin', v_plan.timezone
            USING ERRCODE = 'RM001';
    END IF;
    INSERT INTO public.plans (name, quota_type, anchor_day, timezone, quota_bytes, quota_bytes_in, quota_bytes_out,
        quota_seconds, speed_up, speed_down, max_sessions, session_timeout, idle_timeout, valid_seconds, rollover_bytes,
        price, role)
    VALUES (v_plan.name, v_plan.quota_type, v_plan.anchor_day, v_plan.timezone, v_plan.quota_bytes,
        v_plan.quota_bytes_in, v_plan.quota_bytes_out, v_plan.quota_seconds, v_plan.speed_up, v_plan.speed_down,
        v_plan.max_sessions, v_plan.session_timeout, v_plan.idle_timeout, v_plan.valid_seconds, v_plan.rollover_bytes,
        v_plan.price, v_plan.role)
    ON CONFLICT (name) DO NOTHING RETURNING * INTO v_plan;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is a plan "%" already: "radmeter plans set" changes it', p_plan ->> 'name'
            USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.set_tiers(v_plan.id, coalesce(p_plan -> 'tiers', '[]'));
    PERFORM radmeter.audit('plans add', radmeter.plan_values(v_plan));
    RETURN v_plan.id;
END;
$$;
