-- radmeter.mute_alerts(rule, router_id, site, username, until, note): tells nobody of some alerts until a time.
-- NULL stands for any; a site stands for its routers, too. An alert that is still open then is announced.
-- Returns the id of the mute. Writes radmeter.alert_mutes, audit_log, which gets no user name.
-- SQLSTATE RM001: nothing is named, there is no such router, the time is over or more than a year ahead.
CREATE OR REPLACE FUNCTION radmeter.mute_alerts(
    p_rule text, p_router_id bigint, p_site text, p_username text, p_until timestamptz, p_note text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id bigint;
BEGIN
    IF num_nonnulls(p_rule, p_router_id, p_site, p_username) = 0 THEN
        RAISE EXCEPTION 'name a rule, a router, a site or a user' USING ERRCODE = 'RM001';
    ELSIF p_router_id IS NOT NULL AND NOT EXISTS (SELECT FROM public.routers WHERE id = p_router_id) THEN
        RAISE EXCEPTION 'there is no router #%', p_router_id USING ERRCODE = 'RM001';
    ELSIF (p_until > now() AND p_until <= now() + interval '366 days') IS NOT TRUE THEN
        RAISE EXCEPTION 'alerts are muted until a time that is to come, at most a year ahead' USING ERRCODE = 'RM001';
    ELSIF length(p_note) > 1000 THEN
        RAISE EXCEPTION 'a note has at most 1000 characters' USING ERRCODE = 'RM001';
    END IF;
    INSERT INTO radmeter.alert_mutes (rule, router_id, site, username, until_at, note, created_by)
    VALUES (p_rule, p_router_id, p_site, p_username, p_until, nullif(btrim(p_note, E' \t\r\n'), ''),
            coalesce(nullif(current_setting('radmeter.operator', true), ''), session_user))
    RETURNING id INTO v_id;
    PERFORM radmeter.audit('alerts mute', jsonb_strip_nulls(jsonb_build_object(
        'mute', v_id, 'rule', p_rule, 'router', p_router_id, 'site', p_site, 'until', p_until)));
    RETURN v_id;
END;
$$;
