-- Row-level security: who is a member of radmeter_tenant sees the rows of one tenant. Grants and policies of that role are
-- together here, so that there is never a grant without its policy.
-- A table has two policies. `everybody` lets each role see and write what its grants allow, and is no condition in a plan.
-- `own_rows` is restrictive: members of radmeter_tenant see the rows for which both hold. Owners and superusers pass by.
-- ALTER TABLE and CREATE POLICY lock the table, so nothing is done that is so already. The comment of a policy has the
-- hash of its expression.
DO $$
DECLARE
    v_rows record;
    v_tenants boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = 'radmeter_tenant');
    v_comment text;
    v_policy oid;
BEGIN
    FOR v_rows IN SELECT * FROM (VALUES
        ('radmeter.setting', 'name IN (''timezone'', ''stale_minutes'')'),
        ('radmeter.tenants', 'id = (SELECT radmeter.current_tenant())'),
        ('radmeter.issuers', 'id IN (SELECT issuer_id FROM radmeter.tenants)'),
        ('radmeter.billing_close', 'tenant_id = (SELECT radmeter.current_tenant())'
                                   ' OR id IN (SELECT close_id FROM public.invoices)'),
        ('radmeter.tenant_rates', 'tenant_id = (SELECT radmeter.current_tenant())'),
        ('radmeter.router_tenant', 'tenant_id = (SELECT radmeter.current_tenant())'),
        -- What a former tenant sees of a router is in radmeter.former_routers.
        ('public.routers', 'tenant_id = (SELECT radmeter.current_tenant())'),
        -- These subqueries run as the tenant, so they find the tenant's rows only.
        ('public.router_daily_usage', 'router_id IN (SELECT router_id FROM radmeter.router_tenant)'
                                      ' AND radmeter.is_own_day(router_id, usage_date)'),
        ('public.subscribers', 'tenant_id = (SELECT radmeter.current_tenant())'),
        ('public.subscriber_plans', 'username IN (SELECT username FROM public.subscribers)'),
        ('public.user_quota_usage', 'username IN (SELECT username FROM public.subscribers)'),
        ('public.top_ups', 'username IN (SELECT username FROM public.subscribers)'),
        ('public.plans', 'id IN (SELECT plan_id FROM public.subscribers UNION ALL SELECT plan_id FROM public.subscriber_plans)'),
        -- A draft is not a document yet.
        ('public.invoices', 'status <> ''draft'' AND (tenant_id = (SELECT radmeter.current_tenant())'
                            ' OR of_tenant_id = (SELECT radmeter.current_tenant()))'),
        ('public.invoice_lines', 'invoice_id IN (SELECT id FROM public.invoices)'),
        ('public.invoice_usage', 'invoice_id IN (SELECT id FROM public.invoices)'),
        ('public.credit_notes', 'invoice_id IN (SELECT id FROM public.invoices)'),
        ('public.credit_note_lines', 'credit_note_id IN (SELECT id FROM public.credit_notes)'))
        AS each (name, own) LOOP
        IF NOT (SELECT relrowsecurity FROM pg_class WHERE oid = v_rows.name::regclass) THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', v_rows.name);
        END IF;
        IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = v_rows.name::regclass AND polname = 'everybody') THEN
            EXECUTE format('CREATE POLICY everybody ON %s USING (true) WITH CHECK (true)', v_rows.name);
        END IF;
        CONTINUE WHEN NOT v_tenants;
        v_comment := 'rows of one tenant, ' || md5(v_rows.own);
        SELECT oid INTO v_policy FROM pg_policy WHERE polrelid = v_rows.name::regclass AND polname = 'own_rows';
        IF v_policy IS NULL OR obj_description(v_policy, 'pg_policy') IS DISTINCT FROM v_comment THEN
            EXECUTE format('DROP POLICY IF EXISTS own_rows ON %s', v_rows.name);
            EXECUTE format('CREATE POLICY own_rows ON %s AS RESTRICTIVE TO radmeter_tenant USING (%s)', v_rows.name,
                v_rows.own);
            EXECUTE format('COMMENT ON POLICY own_rows ON %s IS %L', v_rows.name, v_comment);
        END IF;
    END LOOP;

    IF v_tenants THEN
        GRANT USAGE ON SCHEMA radmeter TO radmeter_tenant;
        GRANT SELECT ON radmeter.tenants, radmeter.issuers, radmeter.billing_close, radmeter.tenant_rates, radmeter.router_tenant, radmeter.setting,
            public.router_daily_usage, public.subscribers, public.subscriber_plans, public.user_quota_usage, public.plans, public.invoices, public.invoice_lines, public.invoice_usage, public.credit_notes, public.credit_note_lines,
            -- These have their conditions in functions, or their caller's rights.
            radmeter.tenant_sessions, radmeter.router_list, radmeter.router_usage
            TO radmeter_tenant;
        -- Not total_usage: a router that changed hands has the sum of all its tenants there.
        GRANT SELECT (id, name, mac, nas_identifier, ip_address, status, timezone, created_at, updated_at, discovery_key,
                      merged_into, merged_at, interim_interval, clients, plausible_mbit_per_second, tenant_id)
            ON public.routers TO radmeter_tenant;
        -- Not note and added_by, which are the operator's, or those of a user's former tenant.
        GRANT SELECT (id, username, bytes, used_bytes, added_at, expires_at, renewal, price)
            ON public.top_ups TO radmeter_tenant;
        GRANT EXECUTE ON FUNCTION radmeter.current_tenant(), radmeter.is_own_day(bigint, date),
            radmeter.own_sessions(timestamptz, timestamptz), radmeter.former_routers(),
            radmeter.assigned_until(bigint, date),
            radmeter.setting_value(text), radmeter.stale_after(integer, integer, integer),
            -- These only compute.
            radmeter.period_end(text, smallint, date), radmeter.anchor_day(text, smallint, date),
            radmeter.period_start(text, smallint, date, date), radmeter.month_day(date, smallint)
            TO radmeter_tenant;
    END IF;
END;
$$;
