-- radmeter.audit(action, detail): notes an operator's change in audit_log, in the transaction of the change.
--   action  the command, such as 'routers merge'
--   detail  the values before and after
-- `who` is the role that logged in. `operator` is the login name that the command line set in radmeter.operator, if
-- any.
-- Returns audit_log.id. Writes audit_log.
CREATE OR REPLACE FUNCTION radmeter.audit(p_action text, p_detail jsonb) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO public.audit_log (who, operator, action, detail)
    VALUES (session_user, nullif(current_setting('radmeter.operator', true), ''), p_action, p_detail)
    RETURNING id;
$$;
