-- radmeter.muted_until(rule, router_id, site, username, at): until when nobody is told of an alert; NULL: it is not muted.
-- site: that of the router, too. Reads radmeter.alert_mutes.
CREATE OR REPLACE FUNCTION radmeter.muted_until(
    p_rule text, p_router_id bigint, p_site text, p_username text, p_at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT max(mute.until_at) FROM radmeter.alert_mutes AS mute
        WHERE mute.until_at > p_at AND mute.created_at <= p_at
          AND (mute.rule IS NULL OR mute.rule = p_rule)
          AND (mute.router_id IS NULL OR mute.router_id = p_router_id)
          AND (mute.site IS NULL OR mute.site = p_site)
          AND (mute.username IS NULL OR mute.username = p_username));
