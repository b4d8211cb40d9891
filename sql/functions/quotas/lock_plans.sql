-- radmeter.lock_plans(names, to_change): keeps others from changing or retiring plans until the transaction ends; to_change:
-- keeps others from giving them to users, too. Unknown names are left out.
-- The lock of radmeter.ingest comes after it: a command that waited for a plan with that lock would stop the counting.
-- Called by radmeter.add_subscriber, radmeter.assign_plan, radmeter.change_plan,
-- radmeter.import_subscribers.
-- SQLSTATE RM001: another transaction is changing one of the plans for 10 seconds already.
CREATE OR REPLACE FUNCTION radmeter.lock_plans(p_names text[], p_to_change boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s'
AS $$
BEGIN
    IF p_to_change THEN
        PERFORM FROM public.plans WHERE name = ANY (p_names) ORDER BY id FOR NO KEY UPDATE;
    ELSE
        PERFORM FROM public.plans WHERE name = ANY (p_names) ORDER BY id FOR SHARE;
    END IF;
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'another command has been changing one of the plans (%) for 10 seconds: try again when it is done',
        array_to_string(p_names, ', ') USING ERRCODE = 'RM001';
END;
$$;
