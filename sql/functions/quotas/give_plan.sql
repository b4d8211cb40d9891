-- radmeter.give_plan(usernames, plan_ids): makes plans the users' own, from now on. A plan's validity from first use
-- begins anew, and a one-time period begins today in the plan's time zone. The plan is no further plan of the user.
-- What is left of a renewal on the first day of the former period or plan ends (top_ups.renewal).
-- Called by radmeter.assign_plan, radmeter.import_subscribers, which have booked what is used. Writes subscribers,
-- subscriber_plans, top_ups.
CREATE OR REPLACE FUNCTION radmeter.give_plan(p_usernames text[], p_plan_ids bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM public.subscriber_plans AS further
    USING unnest(p_usernames, p_plan_ids) AS given (username, plan_id)
    WHERE further.username = given.username AND further.plan_id = given.plan_id;

    WITH ended AS MATERIALIZED (
        SELECT top_up.id, top_up.used_bytes
        FROM unnest(p_usernames, p_plan_ids) AS given (username, plan_id)
        JOIN public.plans AS plan ON plan.id = given.plan_id
        JOIN public.subscribers AS subscriber ON subscriber.username = given.username
        JOIN public.top_ups AS top_up ON top_up.username = given.username
        WHERE top_up.renewal AND top_up.used_bytes < top_up.bytes
          AND (subscriber.plan_id <> plan.id OR subscriber.quota_start
               <> (now() AT TIME ZONE coalesce(plan.timezone, radmeter.setting_value('timezone')))::date)
    ), unused AS (
        DELETE FROM public.top_ups AS top_up USING ended WHERE top_up.id = ended.id AND ended.used_bytes = 0
    )
    UPDATE public.top_ups AS top_up SET bytes = top_up.used_bytes
    FROM ended WHERE top_up.id = ended.id AND ended.used_bytes > 0;

    UPDATE public.subscribers AS subscriber SET
        plan_id = plan.id, first_used_at = NULL,
        quota_start = (now() AT TIME ZONE coalesce(plan.timezone, radmeter.setting_value('timezone')))::date
    FROM unnest(p_usernames, p_plan_ids) AS given (username, plan_id)
    JOIN public.plans AS plan ON plan.id = given.plan_id
    WHERE subscriber.username = given.username;
$$;
