-- The group roles. They cannot log in: an operator grants them to the roles that do.
--   radmeter_owner    owns all objects of radmeter: runs migrations, jobs and partitions without being a superuser
--   radmeter_ingest   register and ingest the segments of journals, note incidents (the shipper), and replay detail files
--   radmeter_reader   read the counters, sessions and views, and verify the counters
--   radmeter_noc      add, claim, import, change and merge routers, repair counters, retry and drop rejected packets,
--                     acknowledge incidents, and read as radmeter_reader does
--   radmeter_billing  read counters, plans, subscribers and routers, close months, issue and credit documents
--   radmeter_login    ask whether a user may log in, and read FreeRADIUS's table of passwords (FreeRADIUS)
--   radmeter_tenant   read the rows of one tenant: the one to which the role is bound (radmeter tenants login)
--   radmeter_api      check the keys of the HTTP API, and become the role of a key: reader, noc, billing or tenant, of which
--                     it has no right before (radmeter serve)
-- Each `radmeter migrate up` runs this as the role that logged in, before it becomes radmeter_owner. If that role may
-- not make or grant roles, it gets a warning, and it owns all objects itself.
DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY
        ARRAY['radmeter_owner', 'radmeter_ingest', 'radmeter_reader', 'radmeter_noc', 'radmeter_billing',
              'radmeter_login', 'radmeter_tenant', 'radmeter_api'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            BEGIN
                -- Before PostgreSQL 16 the role says whether it inherits, since then each grant does.
                EXECUTE format('CREATE ROLE %I NOLOGIN %s', v_role,
                    CASE WHEN v_role = 'radmeter_api' THEN 'NOINHERIT' ELSE '' END);
            EXCEPTION
                -- Roles belong to the whole cluster: the upgrade of another database may have made it just now.
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE WARNING 'role % was not made: % may not create roles', v_role, current_user;
            END;
        END IF;
    END LOOP;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_noc')
            AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_reader')
            AND NOT pg_has_role('radmeter_noc', 'radmeter_reader', 'MEMBER') THEN
        BEGIN
            GRANT radmeter_reader TO radmeter_noc;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE WARNING 'radmeter_noc may not read: % may not grant radmeter_reader to it', current_user;
        END;
    END IF;

    FOREACH v_role IN ARRAY ARRAY['radmeter_reader', 'radmeter_noc', 'radmeter_billing', 'radmeter_tenant'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = v_role)
                AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_api')
                AND NOT pg_has_role('radmeter_api', v_role, 'MEMBER') THEN
            BEGIN
                EXECUTE format('GRANT %I TO radmeter_api', v_role);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE WARNING 'radmeter_api may not become %: % may not grant that', v_role, current_user;
            END;
        END IF;
    END LOOP;

    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_owner') THEN
        RETURN;
    END IF;
    -- A role that is not a superuser and has made radmeter_owner is not its member before PostgreSQL 16. Since 16 it is
    -- a member but may not SET ROLE to it.
    IF NOT pg_has_role('radmeter_owner', 'MEMBER')
            OR (current_setting('server_version_num')::integer >= 160000 AND NOT pg_has_role('radmeter_owner', 'SET')) THEN
        BEGIN
            EXECUTE format('GRANT radmeter_owner TO %I', current_user);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE WARNING '% is not a member of radmeter_owner: it owns the objects that it makes', current_user;
        END;
    END IF;
    -- It makes tables and partitions.
    BEGIN
        IF NOT has_schema_privilege('radmeter_owner', 'public', 'USAGE, CREATE')
                OR NOT has_schema_privilege('radmeter_owner', 'public', 'CREATE') THEN
            GRANT USAGE, CREATE ON SCHEMA public TO radmeter_owner;
        END IF;
    EXCEPTION
        WHEN insufficient_privilege THEN
            RAISE WARNING 'radmeter_owner may not make tables here: % may not grant that', current_user;
    END;
    -- By default everybody may use the schema public. Where that was revoked, those who read its tables need it.
    FOREACH v_role IN ARRAY ARRAY['radmeter_reader', 'radmeter_billing', 'radmeter_login', 'radmeter_tenant'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = v_role AND NOT has_schema_privilege(oid, 'public', 'USAGE')) THEN
            BEGIN
                EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', v_role);
            EXCEPTION
                WHEN insufficient_privilege THEN
                    RAISE WARNING '% may not read tables in public: % may not grant that', v_role, current_user;
            END;
        END IF;
    END LOOP;
END;
$$;

-- TEMPORARY on this database: only the role that owns the objects may make temporary tables, because radmeter.ingest runs
-- as that role. By default everybody may (PUBLIC). Temporary tables, types and functions of a caller are a way to have
-- its own code run by a function of somebody else. Another program of this database that needs temporary tables gets the
-- right by name: GRANT TEMPORARY ON DATABASE .. TO its role.
DO $$
DECLARE
    v_database name;
    v_may_grant boolean;
    v_acl aclitem[];
    v_owner name;
BEGIN
    SELECT datname, pg_has_role(datdba, 'USAGE'), coalesce(datacl, acldefault('d', datdba))
    INTO v_database, v_may_grant, v_acl FROM pg_database WHERE datname = current_database();
    -- Without membership in radmeter_owner, the role that migrates owns the objects.
    FOR v_owner IN
        SELECT rolname FROM pg_roles
        WHERE rolname = 'radmeter_owner'
           OR rolname = current_user AND NOT EXISTS (SELECT FROM pg_roles AS owner WHERE owner.rolname = 'radmeter_owner'
                                                         AND pg_has_role(owner.oid, 'MEMBER')) LOOP
        IF EXISTS (SELECT FROM aclexplode(v_acl) JOIN pg_roles ON pg_roles.oid = grantee
                   WHERE rolname = v_owner AND privilege_type = 'TEMPORARY') THEN
            CONTINUE;
        ELSIF v_may_grant THEN
            EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO %I', v_database, v_owner);
        ELSE
            RAISE WARNING '% may not grant it: GRANT TEMPORARY ON DATABASE % TO %',
                current_user, quote_ident(v_database), quote_ident(v_owner);
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM aclexplode(v_acl) WHERE grantee = 0 AND privilege_type = 'TEMPORARY') THEN
        IF v_may_grant THEN
            EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', v_database);
        ELSE
            RAISE WARNING 'everybody may make temporary tables, and % may not change that: '
                'REVOKE TEMPORARY ON DATABASE % FROM PUBLIC', current_user, quote_ident(v_database);
        END IF;
    END IF;
END;
$$;
