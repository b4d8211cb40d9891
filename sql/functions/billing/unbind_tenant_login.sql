-- radmeter.unbind_tenant_login(role): a database role sees no rows of a tenant any more. The role may be gone already.
-- Returns whether it was bound. Writes radmeter.tenant_logins, audit_log.
CREATE OR REPLACE FUNCTION radmeter.unbind_tenant_login(p_role text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant_id bigint;
BEGIN
    DELETE FROM radmeter.tenant_logins WHERE role_name = p_role RETURNING tenant_id INTO v_tenant_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM radmeter.audit('tenants login', jsonb_build_object('role', p_role, 'tenant', NULL, 'before',
        (SELECT name FROM radmeter.tenants WHERE id = v_tenant_id)));
    RETURN true;
END;
$$;
