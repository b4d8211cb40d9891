-- radmeter.role_in_force(plan_id, used): the name of the role or group in which a user of a plan is at routers, after so
-- many octets of the period: that of the fair-use tier in force, else of the plan. NULL: none.
-- Called by radmeter.judge_login and by the jobs. Reads plans, plan_tiers.
CREATE OR REPLACE FUNCTION radmeter.role_in_force(p_plan_id bigint, p_used bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT coalesce((SELECT tier.role FROM public.plan_tiers AS tier
                         WHERE tier.plan_id = plan.id AND tier.from_bytes <= p_used
                         ORDER BY tier.from_bytes DESC LIMIT 1), plan.role)
        FROM public.plans AS plan WHERE plan.id = p_plan_id);
END;
$$;
