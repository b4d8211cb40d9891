-- radmeter.give_plan(usernames, plan_ids): makes plans the users' own, from now on. A plan's validity from first use
-- begins anew, and a one-time period begins today in the plan's time zone. The plan is no further plan of the user.
-- Called by radmeter.assign_plan, radmeter.import_subscribers. Writes subscribers, subscriber_plans.
CREATE OR REPLACE FUNCTION radmeter.give_plan(p_usernames text[], p_plan_ids bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM public.subscriber_plans AS further
    USING unnest(p_usernames, p_plan_ids) AS given (username, plan_id)
    WHERE further.username = given.username AND further.plan_id = given.plan_id;

    UPDATE public.subscribers AS subscriber SET
        plan_id = plan.id, first_used_at = NULL,
        quota_start = (now() AT TIME ZONE coalesce(plan.timezone, radmeter.setting_value('timezone')))::date
    FROM unnest(p_usernames, p_plan_ids) AS given (username, plan_id)
    JOIN public.plans AS plan ON plan.id = given.plan_id
    WHERE subscriber.username = given.username;
$$;
