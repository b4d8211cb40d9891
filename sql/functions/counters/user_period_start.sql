-- radmeter.user_period_start(username, at): the first day of the user's quota period that an instant is in, in the
-- plan's time zone, or in the installation's if the plan has none. Reads subscribers, plans, radmeter.setting.
CREATE OR REPLACE FUNCTION radmeter.user_period_start(p_username text, p_at timestamptz) RETURNS date
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT radmeter.period_start(quota_type, anchor_day, quota_start, (p_at AT TIME ZONE timezone)::date)
        -- OFFSET 0: see radmeter.update_open.
        FROM (SELECT plan.quota_type, plan.anchor_day, subscriber.quota_start,
                     coalesce(plan.timezone, radmeter.setting_value('timezone')) AS timezone
              FROM (VALUES (p_username)) AS asked (username)
              LEFT JOIN public.subscribers AS subscriber USING (username)
              LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
              OFFSET 0) AS known);
END;
$$;
