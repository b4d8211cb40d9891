-- radmeter.add_subscriber(username, plan, also, attribute, password): gives a user a plan. The user may have usage
-- already: then it counts from now on as the plan says.
--   also                 names of further plans, whose quotas add up
--   attribute, password  as radmeter.store_passwords takes them; NULL: no password is stored here
-- Takes the lock of radmeter.ingest. Writes subscribers, subscriber_plans, radcheck, audit_log, and what
-- radmeter.apply_quotas writes.
-- SQLSTATE RM001, with the reason: the name is none or taken, or a plan cannot be given.
CREATE OR REPLACE FUNCTION radmeter.add_subscriber(
    p_username text, p_plan text, p_also text[], p_attribute text, p_password text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_fault text := radmeter.user_name_fault(p_username);
    v_plan bigint;
    v_also bigint[];
BEGIN
    IF v_fault IS NOT NULL THEN
        RAISE EXCEPTION '%', v_fault USING ERRCODE = 'RM001';
    ELSIF p_plan = ANY (p_also) THEN
        RAISE EXCEPTION 'the plan "%" is given twice: a further plan is another one', p_plan USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.lock_plans(p_also || p_plan, false);
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    v_plan := radmeter.plan_to_give(p_plan);
    v_also := ARRAY(SELECT DISTINCT radmeter.plan_to_give(name) FROM unnest(p_also) AS name);
    INSERT INTO public.subscribers (username, plan_id, quota_start)
    SELECT p_username, id, (now() AT TIME ZONE coalesce(timezone, radmeter.setting_value('timezone')))::date
    FROM public.plans WHERE id = v_plan
    ON CONFLICT (username) DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is a user "%" already, with the plan "%": "radmeter users assign" gives another plan, '
            '"radmeter users password" another password', p_username,
            (SELECT plan.name FROM public.subscribers JOIN public.plans AS plan ON plan.id = plan_id
             WHERE username = p_username) USING ERRCODE = 'RM001';
    END IF;
    INSERT INTO public.subscriber_plans (username, plan_id) SELECT p_username, unnest(v_also);
    IF p_password IS NOT NULL THEN
        PERFORM radmeter.store_passwords(ARRAY[p_username], p_attribute, ARRAY[p_password]);
    END IF;
    PERFORM radmeter.apply_quotas(ARRAY[p_username], false);
    PERFORM radmeter.audit('users add', radmeter.subscriber_values(p_username)
        || jsonb_build_object('password_stored_as', CASE WHEN p_password IS NOT NULL THEN p_attribute END));
END;
$$;
