-- radmeter.import_routers(lines): imports a batch of inventory lines into routers. A second import changes nothing.
--   lines  JSON array of {"line", "name", "mac", "nas_identifier", "nas_mac", "ip_address", "timezone", "clients",
--          "plausible_mbit_per_second", "site"}. An absent or null value changes nothing. clients is an array of addresses and
--          networks; an empty one means any. A plausible rate of -1 means the limit of the installation.
--          nas_mac is the nas_identifier if that is a MAC. No two lines of a batch may have the same name or the same
--          MAC.
-- Returns for each line the outcome (added, claimed, updated, unchanged or refused), the router, and why it was
-- refused. Writes routers; audit_log if it adds or changes a router.
-- A line means the router with its MAC; else the router with its name that is not just discovered; else the router that
-- was discovered by the line's identifier or address. A discovered router is thereby claimed. It keeps its usage and
-- its discovery key, by which packets without a MAC still find it.
-- A MAC never moves from one registered router to another here: a slip in a spreadsheet would then move a site's usage.
CREATE OR REPLACE FUNCTION radmeter.import_routers(p_lines json)
RETURNS TABLE (line bigint, outcome text, router_id bigint, reason text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(p_lines) AS given (
        line bigint, name text, mac macaddr, nas_identifier text, nas_mac macaddr, ip_address inet, timezone text,
        clients cidr[], plausible_mbit_per_second integer, site text)
), zones AS MATERIALIZED (
    -- As radmeter.is_time_zone, once for all lines.
    SELECT DISTINCT given.timezone AS name
    FROM given JOIN pg_catalog.pg_timezone_names AS zone ON lower(zone.name) = lower(given.timezone)
), found AS MATERIALIZED (
    SELECT given.*, by_mac.id AS mac_id, by_mac.status AS mac_status, by_mac.name AS mac_name,
           by_name.id AS name_id, by_name.status AS name_status, by_name.mac AS name_mac, by_key.id AS key_id,
           -- If two lines have the same identifier, the first one is the router discovered by it.
           row_number() OVER (PARTITION BY by_key.id ORDER BY given.line) AS key_turn
    FROM given
    LEFT JOIN public.routers AS by_mac ON by_mac.mac = given.mac
    LEFT JOIN public.routers AS by_name ON by_name.name = given.name AND by_name.status <> 'discovered'
    LEFT JOIN public.routers AS by_key ON given.mac IS NULL AND by_name.id IS NULL AND by_key.status = 'discovered'
        AND by_key.discovery_key =
            radmeter.discovery_key(NULL, given.nas_mac, given.nas_identifier, given.ip_address)
), judged AS MATERIALIZED (
    SELECT found.*, coalesce(mac_id, name_id, CASE WHEN key_turn = 1 THEN key_id END) AS target,
        CASE
            WHEN timezone IS NOT NULL AND timezone NOT IN (SELECT name FROM zones) THEN
                format('time zone "%s" not recognized', timezone)
            WHEN mac_status = 'retired' THEN
                format('the MAC %s belongs to the retired router #%s "%s"', mac, mac_id, mac_name)
            WHEN mac_status = 'active' AND mac_name <> name THEN
                format('the MAC %s belongs to router #%s "%s"', mac, mac_id, mac_name)
            WHEN name_status = 'retired' THEN
                format('the name "%s" is taken by the retired router #%s', name, name_id)
            WHEN mac_status = 'discovered' AND name_id IS NOT NULL THEN
                format('the name "%s" is taken by router #%s, and the MAC %s was discovered as another one, #%s',
                    name, name_id, mac, mac_id)
            WHEN mac_id IS NULL AND mac <> name_mac THEN
                format('the name "%s" is taken by router #%s, which has the MAC %s', name, name_id, name_mac)
        END AS reason
    FROM found
), compared AS MATERIALIZED (
    SELECT judged.line, judged.target, judged.reason, judged.name, judged.mac, judged.nas_identifier,
           judged.ip_address, judged.timezone, judged.clients, judged.plausible_mbit_per_second, judged.site,
           CASE
               WHEN judged.reason IS NOT NULL THEN 'refused'
               WHEN judged.target IS NULL THEN 'added'
               WHEN router.status = 'discovered' THEN 'claimed'
               WHEN (coalesce(judged.mac, router.mac), coalesce(judged.nas_identifier, router.nas_identifier),
                     coalesce(judged.ip_address, router.ip_address), coalesce(judged.timezone, router.timezone),
                     nullif(coalesce(judged.clients, router.clients), '{}'),
                     nullif(coalesce(judged.plausible_mbit_per_second, router.plausible_mbit_per_second), -1),
                     coalesce(judged.site, router.site))
                   IS DISTINCT FROM (router.mac, router.nas_identifier, router.ip_address, router.timezone,
                                     router.clients, router.plausible_mbit_per_second, router.site)
               THEN 'updated'
               ELSE 'unchanged'
           END AS outcome
    FROM judged LEFT JOIN public.routers AS router ON router.id = judged.target
), changed AS (
    UPDATE public.routers AS router SET
        status = 'active',
        name = given.name,
        mac = coalesce(given.mac, router.mac),
        nas_identifier = coalesce(given.nas_identifier, router.nas_identifier),
        ip_address = coalesce(given.ip_address, router.ip_address),
        timezone = coalesce(given.timezone, router.timezone),
        clients = nullif(coalesce(given.clients, router.clients), '{}'),
        plausible_mbit_per_second =
            nullif(coalesce(given.plausible_mbit_per_second, router.plausible_mbit_per_second), -1),
        site = coalesce(given.site, router.site),
        updated_at = now()
    FROM (SELECT * FROM compared WHERE outcome IN ('claimed', 'updated') ORDER BY target) AS given
    WHERE router.id = given.target
), audited AS (
    INSERT INTO public.audit_log (who, operator, action, detail)
    SELECT session_user, nullif(current_setting('radmeter.operator', true), ''), 'routers import',
           jsonb_agg(jsonb_build_object('outcome', compared.outcome, 'before', to_jsonb(router),
               'name', compared.name, 'mac', compared.mac, 'nas_identifier', compared.nas_identifier,
               'ip_address', compared.ip_address, 'timezone', compared.timezone,
               'clients', compared.clients,
               'plausible_mbit_per_second', compared.plausible_mbit_per_second,
               'site', compared.site) ORDER BY compared.line)
    FROM compared LEFT JOIN public.routers AS router ON router.id = compared.target
    WHERE compared.outcome IN ('added', 'claimed', 'updated')
    HAVING count(*) > 0
), added AS (
    INSERT INTO public.routers AS router (name, mac, nas_identifier, ip_address, timezone, clients,
                                          plausible_mbit_per_second, site)
    SELECT name, mac, nas_identifier, ip_address, timezone, nullif(clients, '{}'),
           nullif(plausible_mbit_per_second, -1), site
    FROM compared WHERE outcome = 'added' ORDER BY line
    RETURNING router.id, router.name
)
SELECT compared.line, compared.outcome, coalesce(compared.target, added.id), compared.reason
FROM compared LEFT JOIN added ON compared.outcome = 'added' AND added.name = compared.name
ORDER BY compared.line;
$$;
