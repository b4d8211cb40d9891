-- radmeter.current_tenant(): the tenant whose rows the role in use may see. NULL: none.
-- The role that logged in decides, if it is bound: SET ROLE does not lead to the rows of others. Else it is the role of
-- SET ROLE, as poolers use it. The row of a tenant's role is in radmeter.tenant_logins.
-- `radmeter serve` works for many tenants: its login, a member of radmeter_api, says for which in the setting
-- radmeter.tenant. Of other roles the setting counts for nothing.
-- Called by the policies and by the view tenant_sessions. Reads radmeter.tenant_logins.
CREATE OR REPLACE FUNCTION radmeter.current_tenant() RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Here current_user is the owner of the function. The setting `role` is the one of SET ROLE.
    RETURN coalesce(
        (SELECT tenant_id FROM radmeter.tenant_logins
         WHERE role_name IN (session_user, current_setting('role'))
         ORDER BY role_name <> session_user LIMIT 1),
        CASE WHEN current_setting('radmeter.tenant', true) ~ '^[1-9][0-9]{0,17}$'
                  AND EXISTS (SELECT FROM pg_roles
                              WHERE rolname = 'radmeter_api' AND pg_has_role(session_user, oid, 'MEMBER'))
             THEN current_setting('radmeter.tenant')::bigint END);
END;
$$;
