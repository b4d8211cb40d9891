-- radmeter.bind_tenant_login(role, tenant): lets a database role see the rows of one tenant only.
-- It gets no right by that: a superuser, or who may, grants radmeter_tenant to it.
-- Returns whether it is a member of radmeter_tenant. Writes radmeter.tenant_logins, audit_log.
-- SQLSTATE RM001, with the reason: there is no such role or tenant, or the role sees more than the rows of a tenant.
CREATE OR REPLACE FUNCTION radmeter.bind_tenant_login(p_role text, p_tenant text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant radmeter.tenants;
    v_before text;
    v_reason text;
BEGIN
    SELECT * INTO v_tenant FROM radmeter.tenants WHERE id = radmeter.tenant_id(p_tenant);
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = p_role) THEN
        RAISE EXCEPTION 'there is no role "%": make it first, as a superuser: CREATE ROLE % LOGIN', p_role,
            quote_ident(p_role) USING ERRCODE = 'RM001';
    END IF;
    v_reason := radmeter.sees_more(p_role);
    IF v_reason IS NOT NULL THEN
        RAISE EXCEPTION 'the role "%" would see more than the rows of a tenant: it %', p_role, v_reason
            USING ERRCODE = 'RM001', HINT = 'Make another role for the tenant.';
    END IF;
    SELECT name INTO v_before FROM radmeter.tenant_logins AS login JOIN radmeter.tenants AS tenant
        ON tenant.id = login.tenant_id WHERE login.role_name = p_role;
    INSERT INTO radmeter.tenant_logins AS login (role_name, tenant_id) VALUES (p_role, v_tenant.id)
    ON CONFLICT (role_name) DO UPDATE SET tenant_id = excluded.tenant_id, changed_at = now();
    IF v_before IS DISTINCT FROM v_tenant.name THEN
        PERFORM radmeter.audit('tenants login', jsonb_build_object(
            'role', p_role, 'tenant', v_tenant.name, 'before', v_before));
    END IF;
    RETURN EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_tenant' AND pg_has_role(p_role, oid, 'MEMBER'));
END;
$$;
