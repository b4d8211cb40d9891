-- Roles by what they may do. Group roles without login: an operator grants them to the roles that log in.
--   radmeter_ingest  execute radmeter.ingest and read its checkpoint (the shipper), and replay detail files
--   radmeter_reader  read the counters, sessions and views, and verify the counters
--   radmeter_noc     add, claim, import, change and merge routers, repair counters, retry and drop rejected packets, and
--                    read as radmeter_reader does
DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['radmeter_ingest', 'radmeter_reader', 'radmeter_noc'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
            EXCEPTION
                -- Roles belong to the cluster: another database's upgrade may have made it just now.
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE WARNING 'role % was not made: % may not create roles', v_role, current_user;
            END;
        END IF;
    END LOOP;

    -- Functions are executable by everyone unless said otherwise (PostgreSQL manual, CREATE FUNCTION).
    REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA radmeter FROM PUBLIC;
    REVOKE EXECUTE ON FUNCTION public.get_user_total_usage(text, timestamptz) FROM PUBLIC;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_ingest') THEN
        GRANT USAGE ON SCHEMA radmeter TO radmeter_ingest;
        GRANT EXECUTE ON FUNCTION radmeter.ingest(text, json), radmeter.node_checkpoint(text),
            radmeter.replay(text, json, text, bigint, bigint, bytea), radmeter.replayed_files(text),
            radmeter.sessions_complete_from() TO radmeter_ingest;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_reader') THEN
        GRANT USAGE ON SCHEMA public, radmeter TO radmeter_reader;
        GRANT SELECT ON public.radacct, public.routers, public.plans, public.subscribers, public.user_quota_usage,
            public.router_daily_usage, public.ingest_checkpoint, public.rejected_packet, public.accounting_anomaly,
            public.audit_log,
            radmeter.user_usage, radmeter.router_usage, radmeter.sessions, radmeter.router_list,
            radmeter.router_activity, radmeter.router_clock, radmeter.user_plans, radmeter.nodes, radmeter.totals,
            radmeter.partitions, radmeter.archives
            TO radmeter_reader;
        -- The views and functions below ask for the default time zone and the user's period as the one who reads.
        GRANT SELECT ON radmeter.setting TO radmeter_reader;
        GRANT EXECUTE ON FUNCTION public.get_user_total_usage(text, timestamptz), radmeter.setting_value(text),
            radmeter.user_period_start(text, timestamptz), radmeter.stale_after(integer, integer, integer),
            radmeter.period_start(text, smallint, date, date), radmeter.month_day(date, smallint),
            radmeter.user_differences(date, date, text[]), radmeter.router_differences(date, date, bigint[]),
            radmeter.sessions_complete_from(), radmeter.radacct_partitions()
            TO radmeter_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_noc') THEN
        GRANT USAGE ON SCHEMA radmeter TO radmeter_noc;
        GRANT EXECUTE ON FUNCTION radmeter.add_router(text, macaddr, text, inet, text),
            radmeter.claim_router(bigint, text, macaddr, text, inet, text), radmeter.import_routers(json),
            radmeter.rename_router(bigint, text), radmeter.change_router(bigint, jsonb, boolean),
            radmeter.retire_router(bigint, boolean), radmeter.merge_router(bigint, bigint),
            radmeter.merge_router_sessions(bigint, bigint[], timestamptz[]), radmeter.merge_router_finish(bigint),
            radmeter.repair_usage(text[], date[], bigint[], date[]),
            radmeter.retry_rejected(json), radmeter.drop_rejected(bigint[])
            TO radmeter_noc;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_reader')
                AND NOT pg_has_role('radmeter_noc', 'radmeter_reader', 'MEMBER') THEN
            BEGIN
                GRANT radmeter_reader TO radmeter_noc;
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE WARNING 'radmeter_noc may not read: % may not grant radmeter_reader to it', current_user;
            END;
        END IF;
    END IF;
END;
$$;
