-- radmeter.contradicts(session_calling, session_mac, session_called, calling, mac): whether a session is another one than a
-- packet's, though their acctuniqueid is equal: both have a Calling-Station-Id, and these differ; or neither has one,
-- both show a router's MAC, and these differ.
--   session_mac     the session's router_mac; NULL: only session_called tells the MAC, as in an adopted session
--   session_called  the session's Called-Station-Id
-- Two routers that left the factory with one name and address send equal ids.
CREATE OR REPLACE FUNCTION radmeter.contradicts(
    p_session_calling text, p_session_mac macaddr, p_session_called text, p_calling text, p_mac macaddr) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN p_calling <> '' AND p_session_calling <> '' THEN p_calling <> p_session_calling
    WHEN p_calling <> '' OR p_session_calling <> '' THEN false
    ELSE coalesce(coalesce(p_session_mac, radmeter.leading_mac(p_session_called, false)) <> p_mac, false)
END;
