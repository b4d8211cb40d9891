-- radmeter.audit(action, detail): notes in audit_log what a person changed, in the transaction of the change.
--   action  the command, such as 'routers merge'
--   detail  what was changed, before and after
-- The role is the one that logged in; the operator is what the command line put into radmeter.operator, if anything.
-- Returns audit_log.id. Writes audit_log.
CREATE OR REPLACE FUNCTION radmeter.audit(p_action text, p_detail jsonb) RETURNS bigint
LANGUAGE sql
AS $$
    INSERT INTO public.audit_log (who, operator, action, detail)
    VALUES (session_user, nullif(current_setting('radmeter.operator', true), ''), p_action, p_detail)
    RETURNING id;
$$;
