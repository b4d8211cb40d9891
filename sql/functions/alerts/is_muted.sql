-- radmeter.is_muted(rule, router_id, site, username of a mute, and of an alert): whether the mute is about the alert.
-- NULL in a mute stands for any. The site of an alert is that of its router, too. PostgreSQL puts the expression into the
-- query.
CREATE OR REPLACE FUNCTION radmeter.is_muted(
    m_rule text, m_router_id bigint, m_site text, m_username text,
    p_rule text, p_router_id bigint, p_site text, p_username text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (m_rule IS NULL OR m_rule = p_rule) AND (m_router_id IS NULL OR coalesce(m_router_id = p_router_id, false))
       AND (m_site IS NULL OR coalesce(m_site = p_site, false))
       AND (m_username IS NULL OR coalesce(m_username = p_username, false));
