-- radmeter.retire_plan(name, undo): takes a plan out of use; with undo, takes it into use again. A retired plan can be
-- given to nobody. Users who have it keep it.
-- Returns whether anything changed, and how many users have the plan. Writes plans, audit_log.
-- SQLSTATE RM001, with the reason: there is no such plan.
CREATE OR REPLACE FUNCTION radmeter.retire_plan(p_name text, p_undo boolean)
RETURNS TABLE (changed boolean, users bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_plan public.plans%ROWTYPE;
BEGIN
    SELECT * INTO v_plan FROM public.plans WHERE name = p_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no plan "%": "radmeter plans list" lists them', p_name USING ERRCODE = 'RM001';
    END IF;
    changed := (v_plan.retired_at IS NULL) <> p_undo;
    SELECT count(DISTINCT holder.username) INTO users
    FROM (SELECT username FROM public.subscribers WHERE plan_id = v_plan.id
          UNION ALL SELECT username FROM public.subscriber_plans WHERE plan_id = v_plan.id) AS holder;
    IF changed THEN
        UPDATE public.plans SET retired_at = CASE WHEN NOT p_undo THEN now() END WHERE id = v_plan.id;
        PERFORM radmeter.audit('plans retire', jsonb_build_object('plan', p_name, 'undo', p_undo, 'users', users));
    END IF;
    RETURN NEXT;
END;
$$;
