-- radmeter.retire_tenant(tenant, undo): takes a tenant out of use: it gets no routers and users any more; with undo, takes
-- it into use again. What it has had is still billed.
-- Returns whether anything changed. Writes radmeter.tenants, audit_log.
-- SQLSTATE RM001, with the reason: there is no such tenant, or it has routers from today on, or users.
CREATE OR REPLACE FUNCTION radmeter.retire_tenant(p_tenant text, p_undo boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant radmeter.tenants%ROWTYPE;
    v_router text;
    v_users bigint;
BEGIN
    SELECT * INTO v_tenant FROM radmeter.tenants WHERE id = radmeter.tenant_id(p_tenant) FOR UPDATE;
    IF (v_tenant.retired_at IS NULL) = p_undo THEN
        RETURN false;
    END IF;
    IF NOT p_undo THEN
        SELECT format('#%s "%s"', router.id, router.name) INTO v_router
        FROM radmeter.router_tenant AS mine JOIN public.routers AS router ON router.id = mine.router_id
        WHERE mine.tenant_id = v_tenant.id AND router.merged_into IS NULL
          AND NOT EXISTS (
              SELECT FROM radmeter.router_tenant AS later
              WHERE later.router_id = mine.router_id AND later.from_day > mine.from_day
                AND later.from_day <= (now() AT TIME ZONE coalesce(router.timezone, radmeter.setting_value('timezone')))::date)
        ORDER BY router.id LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'the tenant "%" has routers, such as %: first "radmeter routers assign ROUTER --none --from DAY", '
                'or to another tenant', v_tenant.name, v_router USING ERRCODE = 'RM001';
        END IF;
        SELECT count(*) INTO v_users FROM public.subscribers WHERE tenant_id = v_tenant.id;
        IF v_users > 0 THEN
            RAISE EXCEPTION 'the tenant "%" has users (%): first "radmeter users set USER --tenant none", or to another '
                'tenant', v_tenant.name, v_users USING ERRCODE = 'RM001';
        END IF;
    END IF;
    UPDATE radmeter.tenants SET retired_at = CASE WHEN NOT p_undo THEN now() END, updated_at = now()
    WHERE id = v_tenant.id;
    PERFORM radmeter.audit('tenants retire', jsonb_build_object(
        'tenant', v_tenant.name, 'retired', NOT p_undo));
    RETURN true;
END;
$$;
