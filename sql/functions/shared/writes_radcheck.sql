-- radmeter.writes_radcheck(): whether there is a table radcheck that radmeter's owner may write without running code of
-- somebody else: it belongs to the owner of this function, or to a superuser who has granted it.
-- NULL: there is no such table. Called by radmeter.login_rows, radmeter.finish_erasure.
CREATE OR REPLACE FUNCTION radmeter.writes_radcheck() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT class.relkind IN ('r', 'p')
           AND (class.relowner = current_user::regrole OR EXISTS (
               SELECT FROM pg_roles WHERE oid = class.relowner AND rolsuper
                 AND has_table_privilege(class.oid, 'SELECT') AND has_table_privilege(class.oid, 'DELETE')))
    FROM pg_class AS class WHERE class.oid = to_regclass('public.radcheck');
$$;
