-- radmeter.sees_more(role): why a role would see more than the rows of one tenant; NULL: it would not.
-- Reads the catalog only. Called by bind_tenant_login, and by `radmeter doctor`.
CREATE OR REPLACE FUNCTION radmeter.sees_more(p_role name) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN role.rolsuper THEN 'is a superuser'
        WHEN role.rolbypassrls THEN 'has BYPASSRLS'
        WHEN role.rolreplication THEN 'has REPLICATION'
        WHEN role.rolcreaterole THEN 'has CREATEROLE'
        WHEN role.rolname = 'radmeter_tenant' THEN 'is the group of all tenants'
        WHEN starts_with(role.rolname, 'radmeter_') AND NOT role.rolcanlogin THEN 'is a group of radmeter''s'
        ELSE coalesce((SELECT 'is a member of ' || other.rolname FROM pg_roles AS other
              WHERE other.oid <> role.oid AND other.rolname <> 'radmeter_tenant' AND pg_has_role(role.oid, other.oid, 'MEMBER')
                AND (other.rolsuper OR other.rolbypassrls OR starts_with(other.rolname, 'radmeter_')
                     OR starts_with(other.rolname, 'pg_') AND other.rolname <> 'pg_database_owner')
              ORDER BY other.rolname LIMIT 1),
             -- By a right of its own, or of a group of any name.
             (SELECT 'may read ' || relation.oid::regclass FROM pg_class AS relation
              WHERE relation.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'radmeter'))
                AND relation.relkind IN ('r', 'p', 'v', 'm', 'f')
                AND has_table_privilege(role.oid, relation.oid, 'SELECT')
                AND NOT has_table_privilege('radmeter_tenant', relation.oid, 'SELECT')
              ORDER BY relation.oid LIMIT 1)) END
    FROM pg_roles AS role WHERE role.rolname = p_role;
$$;
