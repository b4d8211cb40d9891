-- radmeter.plan_values(plan): the values of a plan as the audit log keeps them, with its tiers. Reads plan_tiers.
-- Called by radmeter.add_plan, radmeter.change_plan.
CREATE OR REPLACE FUNCTION radmeter.plan_values(p_plan public.plans) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_jsonb(p_plan) - 'period_number' || jsonb_build_object('tiers', coalesce((
        SELECT jsonb_agg(to_jsonb(tier) - 'plan_id' ORDER BY tier.from_bytes)
        FROM public.plan_tiers AS tier WHERE tier.plan_id = p_plan.id), '[]'));
$$;
