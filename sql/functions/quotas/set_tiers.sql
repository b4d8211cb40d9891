-- radmeter.set_tiers(plan_id, tiers): replaces the fair-use tiers of a plan.
--   tiers  JSON array of {"from_bytes", "speed_up", "speed_down", "role"}; both speeds null: off
-- Returns whether they were others. Called by radmeter.add_plan, radmeter.change_plan. Writes plan_tiers.
CREATE OR REPLACE FUNCTION radmeter.set_tiers(p_plan_id bigint, p_tiers jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_changed bigint;
BEGIN
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(p_tiers) AS tier (from_bytes bigint, speed_up bigint, speed_down bigint, role text)
    ), gone AS (
        DELETE FROM public.plan_tiers AS tier
        WHERE tier.plan_id = p_plan_id
          AND NOT EXISTS (SELECT FROM given WHERE given.from_bytes = tier.from_bytes)
        RETURNING 1
    ), kept AS (
        INSERT INTO public.plan_tiers AS tier (plan_id, from_bytes, speed_up, speed_down, role)
        SELECT p_plan_id, from_bytes, speed_up, speed_down, role FROM given
        ON CONFLICT (plan_id, from_bytes) DO UPDATE SET
            speed_up = excluded.speed_up, speed_down = excluded.speed_down, role = excluded.role
        WHERE (tier.speed_up, tier.speed_down, tier.role)
            IS DISTINCT FROM (excluded.speed_up, excluded.speed_down, excluded.role)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM kept) INTO v_changed;
    RETURN v_changed > 0;
END;
$$;
