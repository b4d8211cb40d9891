-- radmeter.muted_until(rule, router_id, site, username, at): until when nobody is told of an alert; NULL: it is not muted.
-- site: that of the router, too. Reads radmeter.alert_mutes.
-- For many alerts, read the mutes once and ask radmeter.is_muted: a call for each took 29 us.
CREATE OR REPLACE FUNCTION radmeter.muted_until(
    p_rule text, p_router_id bigint, p_site text, p_username text, p_at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT max(mute.until_at) FROM radmeter.alert_mutes AS mute
        WHERE mute.until_at > p_at AND mute.created_at <= p_at
          AND radmeter.is_muted(mute.rule, mute.router_id, mute.site, mute.username,
                                p_rule, p_router_id, p_site, p_username));
