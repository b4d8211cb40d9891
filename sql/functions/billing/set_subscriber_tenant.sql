-- radmeter.set_subscriber_tenant(username, tenant): says whose user somebody is: a share of what the user pays belongs to this
-- tenant, and the user is billed in its currency, from today on (radmeter.plan_history).
--   tenant  its name or number; NULL: the operator's own
-- Returns whether anything changed. Writes subscribers, audit_log.
-- SQLSTATE RM001, with the reason: there is no such user, or the tenant is unknown or retired.
CREATE OR REPLACE FUNCTION radmeter.set_subscriber_tenant(p_username text, p_tenant text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant radmeter.tenants%ROWTYPE;
    v_before bigint;
BEGIN
    IF p_tenant IS NOT NULL THEN
        SELECT * INTO v_tenant FROM radmeter.tenants WHERE id = radmeter.tenant_id(p_tenant) FOR SHARE;
        IF v_tenant.retired_at IS NOT NULL THEN
            RAISE EXCEPTION 'the tenant "%" is retired: take it into use with "radmeter tenants retire --undo"',
                v_tenant.name USING ERRCODE = 'RM001';
        END IF;
    END IF;
    SELECT tenant_id INTO v_before FROM public.subscribers WHERE username = p_username FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no user "%" with a plan: "radmeter users list" lists them, "radmeter users add" gives '
            'a plan', p_username USING ERRCODE = 'RM001';
    ELSIF v_before IS NOT DISTINCT FROM v_tenant.id THEN
        RETURN false;
    END IF;
    UPDATE public.subscribers SET tenant_id = v_tenant.id WHERE username = p_username;
    PERFORM radmeter.audit('users set', jsonb_build_object('username', p_username, 'tenant', v_tenant.name,
        'before', (SELECT name FROM radmeter.tenants WHERE id = v_before)));
    RETURN true;
END;
$$;
