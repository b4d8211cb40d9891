-- radmeter.qualify_usernames(tenant, realm, from): from a day on, user names without a realm get this one at the routers of a
-- tenant (radmeter.qualified_name). Counters that exist keep their names.
--   realm  NULL: names stay as they are sent
--   from   NULL: the next first of a month
-- The day must lie ahead in each time zone, so that no period that has begun changes its name. A former change that has not
-- taken effect is replaced. Returns the day from which on it is so: an earlier one if it has been so already. Writes
-- radmeter.tenant_realm, and audit_log if that changes anything.
-- SQLSTATE RM001: no router has the tenant, the realm is no realm or belongs to another tenant, or the day is too soon.
CREATE OR REPLACE FUNCTION radmeter.qualify_usernames(p_tenant bigint, p_realm text, p_from date) RETURNS date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- A day later it may be today in the Pacific.
    v_soonest date := (now() AT TIME ZONE 'UTC')::date + 2;
    v_from date := coalesce(p_from, (date_trunc('month', v_soonest - 1 + interval '1 month'))::date);
    v_before jsonb;
    v_after jsonb;
    v_since date;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.qualify_usernames', 0));
    IF NOT EXISTS (SELECT FROM public.routers WHERE tenant_id = p_tenant) THEN
        RAISE EXCEPTION 'no router has the tenant %: "radmeter routers assign ROUTER --tenant %" gives a router to it',
            coalesce((SELECT format('"%s"', name) FROM radmeter.tenants WHERE id = p_tenant), p_tenant::text), p_tenant
            USING ERRCODE = 'RM001';
    ELSIF p_realm !~ '^[A-Za-z0-9]([A-Za-z0-9.-]{0,125}[A-Za-z0-9])?$' THEN
        RAISE EXCEPTION 'a realm has letters, digits, dots and dashes, such as hotel.example.org, not "%"', p_realm
            USING ERRCODE = 'RM001';
    ELSIF EXISTS (SELECT FROM radmeter.tenant_realm WHERE lower(realm) = lower(p_realm) AND tenant_id <> p_tenant) THEN
        RAISE EXCEPTION 'the realm % belongs to another tenant, or did: their users would share counters', p_realm
            USING ERRCODE = 'RM001';
    ELSIF v_from < v_soonest OR NOT isfinite(v_from) THEN
        RAISE EXCEPTION 'names change with periods that are still to begin, everywhere on earth: % at the earliest', v_soonest
            USING ERRCODE = 'RM001';
    END IF;
    SELECT jsonb_agg(jsonb_build_object('from', qualify_from, 'realm', realm) ORDER BY qualify_from) INTO v_before
    FROM radmeter.tenant_realm WHERE tenant_id = p_tenant;
    DELETE FROM radmeter.tenant_realm WHERE tenant_id = p_tenant AND qualify_from >= v_soonest;
    IF p_realm IS DISTINCT FROM (SELECT realm FROM radmeter.tenant_realm WHERE tenant_id = p_tenant
                                 ORDER BY qualify_from DESC LIMIT 1) THEN
        INSERT INTO radmeter.tenant_realm (tenant_id, qualify_from, realm) VALUES (p_tenant, v_from, p_realm);
    END IF;
    SELECT jsonb_agg(jsonb_build_object('from', qualify_from, 'realm', realm) ORDER BY qualify_from), max(qualify_from)
    INTO v_after, v_since
    FROM radmeter.tenant_realm WHERE tenant_id = p_tenant;
    IF v_after IS DISTINCT FROM v_before THEN
        PERFORM radmeter.audit('routers qualify', jsonb_build_object(
            'tenant', p_tenant, 'realm', p_realm, 'from', coalesce(v_since, v_from), 'before', v_before));
    END IF;
    RETURN coalesce(v_since, v_from);
END;
$$;
