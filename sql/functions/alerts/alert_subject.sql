-- radmeter.alert_subject(router_id, site): what an alert of a rule is about, as in radmeter.alert_watch: `router:7`,
-- `site:Hotel A`, or `all`.
CREATE OR REPLACE FUNCTION radmeter.alert_subject(p_router_id bigint, p_site text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_router_id IS NOT NULL THEN 'router:' || p_router_id
            WHEN p_site IS NOT NULL THEN 'site:' || p_site ELSE 'all' END;
