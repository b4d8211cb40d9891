-- The group roles. They cannot log in: an operator grants them to the roles that do.
--   radmeter_owner    owns all objects of radmeter: runs migrations, jobs and partitions without being a superuser
--   radmeter_ingest   execute radmeter.ingest and read its checkpoint (the shipper), and replay detail files
--   radmeter_reader   read the counters, sessions and views, and verify the counters
--   radmeter_noc      add, claim, import, change and merge routers, repair counters, retry and drop rejected packets,
--                     and read as radmeter_reader does
--   radmeter_billing  read counters, plans, subscribers and routers, and issue invoices
-- Each `radmeter migrate up` runs this as the role that logged in, before it becomes radmeter_owner. If that role may
-- not make or grant roles, it gets a warning, and it owns all objects itself.
DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY
        ARRAY['radmeter_owner', 'radmeter_ingest', 'radmeter_reader', 'radmeter_noc', 'radmeter_billing'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
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
    -- It makes tables, partitions, and the temporary table of a batch.
    BEGIN
        IF NOT has_schema_privilege('radmeter_owner', 'public', 'USAGE, CREATE')
                OR NOT has_schema_privilege('radmeter_owner', 'public', 'CREATE') THEN
            GRANT USAGE, CREATE ON SCHEMA public TO radmeter_owner;
        END IF;
        IF NOT has_database_privilege('radmeter_owner', current_database(), 'TEMPORARY') THEN
            EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO radmeter_owner', current_database());
        END IF;
    EXCEPTION
        WHEN insufficient_privilege THEN
            RAISE WARNING 'radmeter_owner may not make tables here: % may not grant that', current_user;
    END;
END;
$$;
