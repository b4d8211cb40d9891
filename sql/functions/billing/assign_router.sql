-- radmeter.assign_router(id, tenant, from): says whose a router is from a day on, in the router's time zone, until the next
-- assignment. The same day again replaces what was said for it.
--   tenant  its name or number; NULL: nobody's
--   from    NULL: today
-- Issued documents stay as they are. Days of closed months that become another's are adjusted by the next documents of both.
-- Returns whether anything changed, the day, the first day of the next assignment, and how many closed months of the former
-- or new tenants the days between reach into.
-- Writes radmeter.router_tenant, audit_log, and what radmeter.apply_assignments writes.
-- SQLSTATE RM001, with the reason: there is no such router, it was merged, or the tenant is unknown or retired.
CREATE OR REPLACE FUNCTION radmeter.assign_router(p_id bigint, p_tenant text, p_from date)
RETURNS TABLE (changed boolean, since date, until_day date, closed_months bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_router public.routers%ROWTYPE;
    v_tenant radmeter.tenants%ROWTYPE;
    v_there boolean;
    v_former bigint;
BEGIN
    -- Ingest reads whose a router is, and locks routers after this lock.
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    SELECT * INTO v_router FROM public.routers WHERE id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no router #%', p_id USING ERRCODE = 'RM001';
    ELSIF v_router.merged_into IS NOT NULL THEN
        RAISE EXCEPTION 'router #% "%" was merged into #%: assign that one', p_id, v_router.name, v_router.merged_into
            USING ERRCODE = 'RM001';
    END IF;
    IF p_tenant IS NOT NULL THEN
        SELECT * INTO v_tenant FROM radmeter.tenants WHERE id = radmeter.tenant_id(p_tenant) FOR SHARE;
        IF v_tenant.retired_at IS NOT NULL THEN
            RAISE EXCEPTION 'the tenant "%" is retired: take it into use with "radmeter tenants retire --undo"',
                v_tenant.name USING ERRCODE = 'RM001';
        END IF;
    END IF;
    since := coalesce(p_from, (now() AT TIME ZONE coalesce(v_router.timezone, radmeter.setting_value('timezone')))::date);
    IF since NOT BETWEEN '2000-01-01' AND '2100-01-01' THEN
        RAISE EXCEPTION 'an assignment begins between 2000-01-01 and 2100-01-01, not on %', since USING ERRCODE = 'RM001';
    END IF;
    SELECT from_day = since, tenant_id INTO v_there, v_former FROM radmeter.router_tenant
    WHERE router_id = p_id AND from_day <= since ORDER BY from_day DESC LIMIT 1;
    changed := v_former IS DISTINCT FROM v_tenant.id;
    SELECT min(from_day) INTO until_day FROM radmeter.router_tenant WHERE router_id = p_id AND from_day > since;
    IF changed THEN
        INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id) VALUES (p_id, since, v_tenant.id)
        ON CONFLICT (router_id, from_day) DO UPDATE SET tenant_id = excluded.tenant_id, assigned_at = now();
        PERFORM radmeter.apply_assignments();
        PERFORM radmeter.audit('routers assign', jsonb_build_object(
            'router', p_id, 'name', v_router.name, 'from', since, 'until', until_day, 'tenant', v_tenant.name,
            'before', (SELECT name FROM radmeter.tenants WHERE id = v_former)));
    END IF;
    SELECT count(DISTINCT period) INTO closed_months FROM radmeter.billing_close
    WHERE changed AND tenant_id IN (v_former, v_tenant.id) AND period + interval '1 month' > since
      AND (until_day IS NULL OR period < until_day);
    RETURN NEXT;
END;
$$;
