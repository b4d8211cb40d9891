-- The privileges of the roles in roles.sql. They have no others.
DO $$
BEGIN
    -- By default everyone may execute a function (PostgreSQL manual, CREATE FUNCTION).
    REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA radmeter FROM PUBLIC;
    REVOKE EXECUTE ON FUNCTION public.get_user_total_usage(text, timestamptz) FROM PUBLIC;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_ingest') THEN
        GRANT USAGE ON SCHEMA radmeter TO radmeter_ingest;
        GRANT EXECUTE ON FUNCTION radmeter.database_id(), radmeter.open_segments(text, json),
            radmeter.ingest(uuid, bigint, bigint, json, bigint), radmeter.finish_segment(uuid, bigint),
            radmeter.stage(), radmeter.removed_segments(json), radmeter.note_incident(text, json), radmeter.settle_incident(bigint),
            -- These two refuse the shipper of an older release, and say what to do.
            radmeter.ingest(text, json), radmeter.node_checkpoint(text),
            radmeter.replay(text, json, text, bigint, bigint, bytea), radmeter.replayed_files(text),
            radmeter.sessions_complete_from(), radmeter.left_out_ranges(text), radmeter.salvage_rejected(text, uuid, json)
            TO radmeter_ingest;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_reader') THEN
        GRANT USAGE ON SCHEMA radmeter TO radmeter_reader;
        GRANT SELECT ON public.radacct, public.routers, public.plans, public.subscribers, public.user_quota_usage,
            public.router_daily_usage, public.ingest_checkpoint, public.rejected_packet, public.accounting_anomaly,
            public.audit_log, public.invoices,
            radmeter.user_usage, radmeter.router_usage, radmeter.sessions, radmeter.router_list,
            radmeter.router_activity, radmeter.router_clock, radmeter.user_plans, radmeter.nodes, radmeter.totals,
            radmeter.partitions, radmeter.archives, radmeter.left_out, radmeter.new_users,
            radmeter.discovery_limits, radmeter.router_networks,
            radmeter.journal_segments, radmeter.journal_incidents,
            public.plan_tiers, public.subscriber_plans, public.top_ups, radmeter.quota_account,
            radmeter.quota_booked, radmeter.quota_change, radmeter.disconnect_queue, radmeter.quota_notice, radmeter.router_coa_state,
            radmeter.webhooks, radmeter.webhook_delivery,
            radmeter.alert_list, radmeter.alerts, radmeter.alert_mutes, radmeter.alert_state, radmeter.alert_mail,
            radmeter.alert_mail_line, radmeter.router_watch, radmeter.router_hour, radmeter.alert_watch,
            radmeter.refused_logins, radmeter.tenant_realm, radmeter.sent_username,
            radmeter.router_requests,
            radmeter.issuers, radmeter.tenants, radmeter.router_tenant, radmeter.tenant_rates, radmeter.plan_history,
            radmeter.plan_prices, radmeter.billing_close, radmeter.key_list
            TO radmeter_reader;
        -- Documents, and the settings of billing.
        GRANT SELECT ON public.invoice_lines, public.invoice_usage, public.credit_notes, public.credit_note_lines,
            radmeter.document_number
            TO radmeter_reader;
        GRANT EXECUTE ON FUNCTION radmeter.billing_settings(), radmeter.month_ends(date, bigint[]),
            radmeter.assigned_until(bigint, date)
            TO radmeter_reader;
        -- The views and functions read the default time zone and the user's period with the reader's own privileges.
        GRANT SELECT ON radmeter.setting TO radmeter_reader;
        -- For `radmeter billing export`: the octets of a session by day.
        GRANT SELECT ON radmeter.session_slice TO radmeter_reader;
        -- For `radmeter doctor`, `migrate status` and `migrate history`.
        GRANT SELECT ON radmeter.alembic_version, radmeter.sql_file, radmeter.migration_log, radmeter.decimal_change,
            radmeter.session_month, radmeter.adoption, radmeter.backfill, radmeter.backfill_rejected,
            radmeter.cleared_partition, radmeter.lease, radmeter.partition_split, radmeter.job_result
            TO radmeter_reader;
        -- For `radmeter audit`.
        GRANT SELECT ON radmeter.audit_chain, radmeter.audit_head TO radmeter_reader;
        GRANT SELECT ON radmeter.tenant_logins TO radmeter_reader;
        GRANT EXECUTE ON FUNCTION radmeter.sees_more(name), radmeter.audit_faults(),
            radmeter.audit_digest(bytea, bigint, timestamptz, text, text, text, jsonb),
            radmeter.chain_digest(bytea, bigint, bigint, boolean, bytea, timestamptz)
            TO radmeter_reader;
        GRANT EXECUTE ON FUNCTION public.get_user_total_usage(text, timestamptz), radmeter.setting_value(text),
            -- In router_list. It finds nothing for them.
            radmeter.former_routers(),
            radmeter.user_period_start(text, timestamptz), radmeter.stale_after(integer, integer, integer),
            radmeter.period_start(text, smallint, date, date), radmeter.month_day(date, smallint), radmeter.anchor_day(text, smallint, date),
            radmeter.user_differences(date, date, text[]), radmeter.router_differences(date, date, bigint[]),
            radmeter.user_parts(text, date), radmeter.user_days(text, date, date),
            radmeter.period_complete(text, smallint, date, text, date, timestamptz),
            radmeter.sessions_complete_from(), radmeter.radacct_partitions(), radmeter.missing_months(integer),
            radmeter.limits(), radmeter.erasures(text), radmeter.audit_lines_with(text), radmeter.login_rows(text),
            radmeter.without_name(jsonb, text, text), radmeter.database_id(), radmeter.lagging_nodes(),
            radmeter.quota_state(text[], timestamptz), radmeter.period_end(text, smallint, date),
            radmeter.overage(numeric, numeric, numeric, numeric, numeric), radmeter.percent_used(numeric, numeric),
            radmeter.day_begins(date, text),
            radmeter.octets_until(integer, numeric, numeric),
            radmeter.used_seconds(text, timestamptz, timestamptz), radmeter.open_sessions(text),
            radmeter.vendor_profiles(), radmeter.vendor_attributes(), radmeter.login_settings(), radmeter.radcheck_fault(),
            radmeter.coa_address(bigint), radmeter.muted_until(text, bigint, text, text, timestamptz),
            radmeter.is_muted(text, bigint, text, text, text, bigint, text, text), radmeter.alert_subject(bigint, text),
            radmeter.stale_sessions(timestamptz, integer)
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
            radmeter.retry_rejected(json), radmeter.drop_rejected(bigint[]),
            radmeter.set_limit(text, text), radmeter.acknowledge_incident(bigint, text),
            radmeter.add_plan(jsonb), radmeter.change_plan(text, jsonb), radmeter.retire_plan(text, boolean),
            radmeter.add_subscriber(text, text, text[], text, text),
            radmeter.set_anchor(text, integer), radmeter.assign_plan(text, text, text[], text[], boolean),
            radmeter.top_up(text, bigint, date, bigint, text), radmeter.undo_top_up(bigint, text),
            radmeter.suspend_subscriber(text, boolean), radmeter.remove_subscriber(text),
            radmeter.import_subscribers(json), radmeter.set_password(text, text, text),
            radmeter.set_login_setting(text, text),
            radmeter.set_router_coa(bigint, jsonb), radmeter.request_disconnect(text, bigint, text),
            radmeter.retry_requests(bigint[]), radmeter.drop_requests(bigint[]),
            radmeter.add_webhook(text, text[], text), radmeter.change_webhook(bigint, text, text, integer),
            radmeter.end_deliveries(bigint[], text), radmeter.qualify_usernames(bigint, text, date),
            radmeter.assign_router(bigint, text, date), radmeter.set_subscriber_tenant(text, text),
            radmeter.price_top_up(bigint, numeric),
            radmeter.bind_tenant_login(text, text), radmeter.unbind_tenant_login(text),
            radmeter.ack_alert(bigint, text), radmeter.unmute_alerts(bigint), radmeter.retry_mails(bigint[]),
            radmeter.mute_alerts(text, bigint, text, text, timestamptz, text),
            -- Keys that only read. The function refuses others.
            radmeter.add_key(text, text, text, text, bytea, integer, integer, timestamptz),
            radmeter.rotate_key(text, text, bytea, interval), radmeter.revoke_key(text),
            -- For `radmeter webhooks test`. They are encrypted.
            radmeter.webhook_secrets(bigint)
            TO radmeter_noc;
        -- With the secrets, which are encrypted: `radmeter routers test-coa` sends with them.
        GRANT SELECT ON radmeter.router_coa TO radmeter_noc;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_billing') THEN
        GRANT USAGE ON SCHEMA radmeter TO radmeter_billing;
        GRANT SELECT ON public.user_quota_usage, public.router_daily_usage, public.plans, public.subscribers,
            public.routers, public.invoices, radmeter.user_usage, radmeter.router_usage, radmeter.user_plans,
            radmeter.router_list, radmeter.setting,
            public.plan_tiers, public.subscriber_plans, public.top_ups, radmeter.quota_account, radmeter.quota_booked,
            radmeter.quota_change,
            radmeter.issuers, radmeter.tenants, radmeter.router_tenant, radmeter.tenant_rates, radmeter.plan_history,
            radmeter.plan_prices, radmeter.billing_close
            TO radmeter_billing;
        GRANT EXECUTE ON FUNCTION public.get_user_total_usage(text, timestamptz), radmeter.setting_value(text),
            radmeter.user_period_start(text, timestamptz), radmeter.period_start(text, smallint, date, date),
            radmeter.month_day(date, smallint), radmeter.anchor_day(text, smallint, date),
            radmeter.quota_state(text[], timestamptz), radmeter.period_end(text, smallint, date),
            radmeter.overage(numeric, numeric, numeric, numeric, numeric), radmeter.percent_used(numeric, numeric),
            radmeter.day_begins(date, text),
            radmeter.octets_until(integer, numeric, numeric),
            radmeter.used_seconds(text, timestamptz, timestamptz), radmeter.open_sessions(text),
            -- The list of routers shows after which silence a session is closed.
            radmeter.stale_after(integer, integer, integer), radmeter.former_routers(),
            radmeter.add_tenant(text, jsonb), radmeter.change_tenant(text, jsonb), radmeter.retire_tenant(text, boolean),
            radmeter.set_tenant_rate(text, date, jsonb), radmeter.add_issuer(text, jsonb), radmeter.change_issuer(text, jsonb)
            TO radmeter_billing;
        -- Close, issue and credit. All is written by these functions.
        GRANT SELECT ON public.invoice_lines, public.invoice_usage, public.credit_notes, public.credit_note_lines,
            radmeter.document_number
            TO radmeter_billing;
        GRANT EXECUTE ON FUNCTION radmeter.billing_settings(), radmeter.month_ends(date, bigint[]),
            radmeter.assigned_until(bigint, date), radmeter.freeze_usage(date, bigint[], jsonb), radmeter.close_users(date, jsonb), radmeter.write_drafts(json),
            radmeter.drop_empty_drafts(bigint[]), radmeter.note_close(date, jsonb),
            radmeter.discard_drafts(date, bigint[]), radmeter.issue_drafts(bigint[]), radmeter.add_credit_note(jsonb),
            -- Not restore_invoice and restore_credit_note: they believe whatever they are given.
            radmeter.set_billing_setting(text, text), radmeter.database_id()
            TO radmeter_billing;
        -- No UPDATE and no DELETE: an issued invoice never changes.
        -- Not id, issued_at and issued_by: the database sets them.
        REVOKE INSERT ON public.invoices FROM radmeter_billing;
        GRANT INSERT (username, plan_id, period_start, period_end, usage, amount, currency) ON public.invoices
            TO radmeter_billing;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_api') THEN
        GRANT USAGE ON SCHEMA radmeter TO radmeter_api;
        GRANT EXECUTE ON FUNCTION radmeter.find_key(text), radmeter.note_keys_used(text[]),
            radmeter.begin_request(text, text, text, bytea), radmeter.end_request(text, text, timestamptz, integer, bytea),
            radmeter.end_login(text, timestamptz), radmeter.login_ended(text)
            TO radmeter_api;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_login') THEN
        GRANT USAGE ON SCHEMA radmeter TO radmeter_login;
        GRANT EXECUTE ON FUNCTION radmeter.authorize(text, text, text, text, text, text), radmeter.text_of_octets(bytea)
            TO radmeter_login;
        -- A table of FreeRADIUS's own has another owner, who grants it.
        IF (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('public.radcheck') AND relkind = 'r') THEN
            GRANT SELECT ON public.radcheck TO radmeter_login;
        END IF;
    END IF;
END;
$$;
