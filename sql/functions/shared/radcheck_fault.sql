-- radmeter.radcheck_fault(): why radmeter does not write FreeRADIUS's table radcheck, and what to do about it. No row: it
-- may write it, and no code of somebody else would run with the rights of the owner of this function meanwhile.
--   kind  missing; form: no ordinary table; owner: it is another role's; rights: they are not granted;
--         code: it has a trigger, rule, policy, type or expression of somebody else, or somebody else may add a trigger
-- radmeter's owner and superusers may have code there, but not in a default, check or index: such an expression may only
-- have built-in functions that do nothing but compute. src/radmeter/schema/table_code.py has the same rule for radacct.
-- Called by radmeter.store_passwords, radmeter.login_rows, radmeter.finish_erasure, and by `radmeter doctor`.
CREATE OR REPLACE FUNCTION radmeter.radcheck_fault() RETURNS TABLE (kind text, reason text, remedy text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table pg_class;
    v_owner text := quote_ident(current_user);
    v_trusted oid[] := ARRAY(SELECT oid FROM pg_roles WHERE rolsuper OR rolname = current_user);
BEGIN
    SELECT * INTO v_table FROM pg_class WHERE oid = to_regclass('public.radcheck');
    IF v_table.oid IS NULL THEN
        RETURN QUERY SELECT 'missing', 'there is no table public.radcheck',
            'make it as FreeRADIUS''s schema.sql for PostgreSQL has it, or keep passwords elsewhere (--no-password)';
        RETURN;
    ELSIF v_table.relkind <> 'r' OR EXISTS (SELECT FROM pg_inherits WHERE v_table.oid IN (inhrelid, inhparent)) THEN
        RETURN QUERY SELECT 'form', 'public.radcheck is a view, has partitions or inherits',
            'enter passwords there yourself';
        RETURN;
    ELSIF v_table.relowner <> ALL (v_trusted) THEN
        RETURN QUERY SELECT 'owner', format('public.radcheck belongs to %s, and passwords are not written into a table of '
            'another role', v_table.relowner::regrole),
            format('enter them there yourself, or as a superuser ALTER TABLE public.radcheck OWNER TO %s; '
                'GRANT SELECT, INSERT, UPDATE, DELETE ON public.radcheck TO %s', v_owner, v_table.relowner::regrole);
        RETURN;
    END IF;
    RETURN QUERY
    SELECT 'code', format('%s could run code with the rights of %s, by a trigger on public.radcheck',
            CASE grantee WHEN 0 THEN 'everybody' ELSE grantee::regrole::text END, v_owner),
        format('REVOKE TRIGGER ON public.radcheck FROM %s',
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
    FROM aclexplode(v_table.relacl) WHERE privilege_type = 'TRIGGER' AND grantee <> ALL (v_trusted)
    UNION ALL
    SELECT 'code', format('the trigger %I of public.radcheck runs the function %s of %s', tgname, tgfoid::regprocedure,
            proowner::regrole),
        format('read it, and ALTER FUNCTION %s OWNER TO a superuser; or DROP TRIGGER %I ON public.radcheck',
            tgfoid::regprocedure, tgname)
    FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE tgrelid = v_table.oid AND NOT tgisinternal AND proowner <> ALL (v_trusted)
    UNION ALL
    SELECT 'code', format('the rule %I rewrites what is done to public.radcheck', rulename),
        format('DROP RULE %I ON public.radcheck', rulename)
    FROM pg_rewrite WHERE ev_class = v_table.oid
    UNION ALL
    SELECT 'code', 'row level security is on for public.radcheck',
        'ALTER TABLE public.radcheck DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY'
    WHERE v_table.relrowsecurity OR v_table.relforcerowsecurity
    UNION ALL
    SELECT 'code', format('the column %I of public.radcheck has the type %s', attname, atttypid::regtype),
        format('ALTER TABLE public.radcheck ALTER COLUMN %I TYPE text', attname)
    FROM pg_attribute WHERE attrelid = v_table.oid AND attnum > 0 AND NOT attisdropped AND atttypid >= 16384
    UNION ALL
    -- A tree of nodes names each function and operator by its oid. Those of PostgreSQL are below 16384.
    SELECT DISTINCT 'code', format('%s of public.radcheck runs the function %s', what, called::oid::regprocedure),
        expression.remedy
    FROM (SELECT format('the default of %I', attname) AS what, adbin::text AS tree,
                 format('ALTER TABLE public.radcheck ALTER COLUMN %I DROP DEFAULT', attname) AS remedy
          FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE adrelid = v_table.oid
          UNION ALL
          SELECT format('the constraint %I', conname), conbin::text,
                 format('ALTER TABLE public.radcheck DROP CONSTRAINT %I', conname)
          FROM pg_constraint WHERE conrelid = v_table.oid AND conbin IS NOT NULL
          UNION ALL
          SELECT format('the index %s', indexrelid::regclass), concat(indexprs::text, indpred::text),
                 format('DROP INDEX %s', indexrelid::regclass)
          FROM pg_index WHERE indrelid = v_table.oid
          UNION ALL
          SELECT format('the condition of the trigger %I', tgname), tgqual::text,
                 format('DROP TRIGGER %I ON public.radcheck', tgname)
          FROM pg_trigger WHERE tgrelid = v_table.oid AND NOT tgisinternal) AS expression,
        LATERAL (
            SELECT part[1] AS called FROM regexp_matches(tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') AS part
            UNION
            SELECT oprcode::oid::text FROM regexp_matches(tree, ':opno (\d+)', 'g') AS part
            JOIN pg_operator ON pg_operator.oid = part[1]::oid) AS calls
    WHERE called <> '0'
      AND NOT EXISTS (
          SELECT FROM pg_proc WHERE oid = called::oid AND oid < 16384
            AND (EXISTS (SELECT FROM pg_operator WHERE oprcode = pg_proc.oid AND pg_operator.oid < 16384)
                 OR EXISTS (SELECT FROM pg_cast WHERE castfunc = pg_proc.oid AND pg_cast.oid < 16384)
                 OR proname IN ('nextval', 'now', 'clock_timestamp', 'statement_timestamp', 'transaction_timestamp', 'lower',
                     'upper', 'btrim', 'length', 'char_length', 'character_length', 'octet_length')));
    IF FOUND THEN
        RETURN;
    END IF;
    IF NOT (has_table_privilege(v_table.oid, 'SELECT') AND has_table_privilege(v_table.oid, 'INSERT')
            AND has_table_privilege(v_table.oid, 'DELETE'))
            OR NOT coalesce((SELECT bool_and(has_sequence_privilege(objid, 'USAGE')) FROM pg_depend
                             JOIN pg_class ON pg_class.oid = objid AND relkind = 'S'
                             WHERE pg_depend.classid = 'pg_class'::regclass AND refobjid = v_table.oid
                               AND deptype = 'a'), true) THEN
        RETURN QUERY SELECT 'rights', format('%s may not write public.radcheck', v_owner),
            format('as its owner, GRANT SELECT, INSERT, DELETE ON public.radcheck TO %s; GRANT USAGE ON SEQUENCE %s TO %s',
                v_owner, coalesce(pg_get_serial_sequence('public.radcheck', 'id'), 'public.radcheck_id_seq'), v_owner);
    END IF;
END;
$$;
