-- radmeter.own_sessions(from, until): the sessions at the routers of the tenant that asks (radmeter.current_tenant) that were
-- online at some time from `from` until before `until`; NULL: since ever, for ever.
-- A session is the tenant's if all its days are in one uninterrupted time of the tenant: from the day on which it began to
-- that of the last packet that counted, in the router's time zone. So none shows octets of another tenant's days.
-- A function, and not a query in the view: PostgreSQL runs nothing of the tenant's query in here, and EXPLAIN shows nothing
-- of it. In a view, EXPLAIN says how many rows of others a condition like bytes_in > 5000 removed.
-- Sessions that began on days of other tenants are not read either, so that their number is not in the time that it takes.
-- Called by the view tenant_sessions, and by tenants. Reads radacct, routers, radmeter.router_tenant.
CREATE OR REPLACE FUNCTION radmeter.own_sessions(p_from timestamptz DEFAULT NULL, p_until timestamptz DEFAULT NULL)
RETURNS TABLE (radacctid bigint, acctsessionid text, username text, router_id bigint, router_name text, router_mac macaddr,
               acctstarttime timestamptz, acctupdatetime timestamptz, acctstoptime timestamptz, acctsessiontime bigint,
               bytes_in bigint, bytes_out bigint, acctterminatecause text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH change AS (
        -- The same tenant again is no change.
        SELECT mine.router_id, mine.from_day, mine.tenant_id,
               lag(mine.tenant_id) OVER (PARTITION BY mine.router_id ORDER BY mine.from_day) AS tenant_before
        FROM radmeter.router_tenant AS mine
        WHERE mine.router_id IN (SELECT known.router_id FROM radmeter.router_tenant AS known
                                 WHERE known.tenant_id = radmeter.current_tenant())),
    held AS MATERIALIZED (
        SELECT change.router_id, change.tenant_id, change.from_day,
               coalesce(lead(change.from_day) OVER (PARTITION BY change.router_id ORDER BY change.from_day), 'infinity')
                   AS until_day
        FROM change WHERE change.tenant_id IS DISTINCT FROM change.tenant_before),
    own AS MATERIALIZED (
        SELECT router.id, router.name, router.mac, zone.name AS zone, held.from_day, held.until_day,
               radmeter.day_begins(held.from_day, zone.name) AS begins_at,
               CASE WHEN held.until_day = 'infinity' THEN 'infinity'
                    ELSE radmeter.day_begins(held.until_day, zone.name) END AS ends_at
        FROM held JOIN public.routers AS router ON router.id = held.router_id
        -- OFFSET 0: see radmeter.update_open.
        CROSS JOIN LATERAL (SELECT coalesce(router.timezone, radmeter.setting_value('timezone')) AS name OFFSET 0) AS zone
        WHERE held.tenant_id = radmeter.current_tenant())
    SELECT session.radacctid, session.acctsessionid, session.username, own.id, own.name, own.mac,
           session.acctstarttime, session.acctupdatetime, session.acctstoptime, session.acctsessiontime,
           session.acctinputoctets, session.acctoutputoctets, session.acctterminatecause
    FROM own JOIN public.radacct AS session ON session.router_id = own.id
    CROSS JOIN LATERAL (
        SELECT (session.acctstarttime AT TIME ZONE own.zone)::date AS first,
               -- Without a counted day it is that of the last packet, as in exports.
               coalesce(session.usage_date,
                        (coalesce(session.acctupdatetime, session.acctstoptime, session.acctstarttime)
                         AT TIME ZONE own.zone)::date) AS last) AS day
    WHERE (session.acctstarttime >= own.begins_at AND session.acctstarttime < own.ends_at OR session.acctstarttime IS NULL)
      AND coalesce(day.first, day.last) >= own.from_day AND coalesce(day.first, day.last) < own.until_day
      AND coalesce(day.last, day.first) >= own.from_day AND coalesce(day.last, day.first) < own.until_day
      AND (session.acctstoptime >= coalesce(p_from, '-infinity') OR session.acctstoptime IS NULL)
      AND (session.acctstarttime < coalesce(p_until, 'infinity') OR session.acctstarttime IS NULL);
END;
$$;
