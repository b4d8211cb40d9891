-- radmeter.set_anchor(username, day): has a user's periods begin on a day of the month, or of the week (1 is Monday), from
-- now on; NULL: on that of today. Only for plans whose periods begin on the day of each user (plans.anchor_day is 0).
-- What the user used stays in the period that counted it: unless the period begins on the same day, the user begins with
-- 0. Top-ups first pay what is owed. Takes the lock of radmeter.ingest.
-- Returns whether anything changed. Writes subscribers, audit_log, and what radmeter.apply_quotas writes.
-- SQLSTATE RM001, with the reason: there is no such user, or the plan has a day of its own.
CREATE OR REPLACE FUNCTION radmeter.set_anchor(p_username text, p_day integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_plan public.plans%ROWTYPE;
    v_before date;
    v_today date;
    v_start date;
BEGIN
    PERFORM radmeter.lock_subscriber(p_username);
    SELECT plan.* INTO v_plan FROM public.subscribers JOIN public.plans AS plan ON plan.id = plan_id
    WHERE username = p_username;
    SELECT quota_start, (now() AT TIME ZONE coalesce(v_plan.timezone, radmeter.setting_value('timezone')))::date
    INTO v_before, v_today FROM public.subscribers WHERE username = p_username;
    IF v_plan.anchor_day <> 0 THEN
        RAISE EXCEPTION 'periods of the plan "%" begin on the same day for all: "radmeter plans set --anchor joined" has '
            'them begin on the day of each user', v_plan.name USING ERRCODE = 'RM001';
    END IF;
    -- In two months there is each day of a month.
    SELECT max(day)::date INTO v_start
    FROM generate_series(v_today - 62, v_today, interval '1 day') AS day
    WHERE p_day IS NULL
       OR p_day = CASE v_plan.quota_type WHEN 'weekly' THEN extract(isodow FROM day) ELSE extract(day FROM day) END;
    IF v_start IS NULL THEN
        RAISE EXCEPTION 'a week begins on day 1 (Monday) to 7 (Sunday), a month on 1 to 31, not on %', p_day
            USING ERRCODE = 'RM001';
    ELSIF radmeter.anchor_day(v_plan.quota_type, 0::smallint, v_before)
          = radmeter.anchor_day(v_plan.quota_type, 0::smallint, v_start) THEN
        RETURN false;
    END IF;
    UPDATE public.subscribers SET quota_start = v_start WHERE username = p_username;
    PERFORM radmeter.apply_quotas(ARRAY[p_username], false);
    PERFORM radmeter.audit('users anchor', jsonb_build_object(
        'username', p_username, 'before', v_before, 'after', v_start));
    RETURN true;
END;
$$;
