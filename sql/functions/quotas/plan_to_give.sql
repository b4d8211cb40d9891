-- radmeter.plan_to_give(name): the id of a plan that a user can be given now. The plan cannot be retired until the
-- transaction ends. The callers have locked it already (radmeter.lock_plans).
-- Called by radmeter.add_subscriber, radmeter.assign_plan. Reads plans.
-- SQLSTATE RM001, with the reason: there is no such plan, or it is retired.
CREATE OR REPLACE FUNCTION radmeter.plan_to_give(p_name text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_plan public.plans%ROWTYPE;
BEGIN
    SELECT * INTO v_plan FROM public.plans WHERE name = p_name FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no plan "%": "radmeter plans list" lists them', p_name USING ERRCODE = 'RM001';
    ELSIF v_plan.retired_at IS NOT NULL THEN
        RAISE EXCEPTION 'the plan "%" is retired: give another, or take it into use with "radmeter plans retire '
            '--undo"', p_name USING ERRCODE = 'RM001';
    END IF;
    RETURN v_plan.id;
END;
$$;
