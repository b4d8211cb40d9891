-- radmeter.month_ends(period, tenants): when a month has ended for each tenant: in the tenant's zone, and in the zone of
-- each router that was the tenant's on a day of the month. The last of these instants counts.
--   period   the first day of the month
--   tenants  tenants.id; NULL: the users, whose month ends in the zones of all plans and of the installation
-- Returns for each tenant the instant, the zone in which it is, and whether the settling time is over, too: what arrives
-- late belongs to the month until then. Reads radmeter.router_tenant, tenants, setting, routers, plans.
CREATE OR REPLACE FUNCTION radmeter.month_ends(p_period date, p_tenants bigint[])
RETURNS TABLE (tenant_id bigint, ends_at timestamptz, timezone text, settled boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH span AS (
        SELECT owner.router_id, owner.tenant_id, owner.from_day,
               lead(owner.from_day) OVER (PARTITION BY owner.router_id ORDER BY owner.from_day) AS until_day
        FROM radmeter.router_tenant AS owner
    ), zone AS (
        SELECT tenant.id AS tenant_id, tenant.timezone FROM radmeter.tenants AS tenant WHERE tenant.id = ANY (p_tenants)
        UNION
        SELECT span.tenant_id, coalesce(router.timezone, radmeter.setting_value('timezone'))
        FROM span JOIN public.routers AS router ON router.id = span.router_id
        WHERE span.tenant_id = ANY (p_tenants) AND span.from_day < (p_period + interval '1 month')::date
          AND (span.until_day IS NULL OR span.until_day > p_period)
        UNION
        SELECT NULL, coalesce(plan.timezone, radmeter.setting_value('timezone'))
        FROM public.plans AS plan WHERE p_tenants IS NULL
        UNION
        SELECT NULL, radmeter.setting_value('timezone') WHERE p_tenants IS NULL
    ), ending AS (
        SELECT distinct_zone.timezone, radmeter.day_begins((p_period + interval '1 month')::date, distinct_zone.timezone) AS at
        FROM (SELECT DISTINCT zone.timezone FROM zone) AS distinct_zone
    )
    SELECT DISTINCT ON (zone.tenant_id) zone.tenant_id, ending.at, zone.timezone,
           now() >= ending.at + radmeter.setting_value('billing_settling_hours')::integer * interval '1 hour'
    FROM zone JOIN ending USING (timezone)
    ORDER BY zone.tenant_id, ending.at DESC, zone.timezone;
$$;
