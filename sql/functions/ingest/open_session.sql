-- radmeter.open_session(uid, session_id, calling, mac, start): the open session that a packet is of.
--   start  the packet's shown start
-- The first kind that exists: sessions with its acctuniqueid, or with that as an alias, unless something contradicts
-- (radmeter.contradicts); sessions with its device key (router's MAC, Acct-Session-Id and Calling-Station-Id). Of several:
-- the one with the same Calling-Station-Id; else with the same MAC; else the one whose start is nearest.
-- Returns it, or no row. One SELECT, so that PostgreSQL puts it into the caller's query: each lookup happens
-- only if the ones before find nothing. Reads radacct, radmeter.session_alias.
CREATE OR REPLACE FUNCTION radmeter.open_session(
    p_uid text, p_session_id text, p_calling text, p_mac macaddr, p_start timestamptz)
RETURNS TABLE (radacctid bigint, acctuniqueid text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT found.radacctid, found.acctuniqueid
    FROM (
        (SELECT session.radacctid, session.acctuniqueid
         FROM public.radacct AS session
         WHERE session.acctuniqueid = p_uid AND session.acctstoptime IS NULL
           AND NOT radmeter.contradicts(
               session.callingstationid, session.router_mac, session.calledstationid, p_calling, p_mac)
         ORDER BY nullif(session.callingstationid, '') IS NOT DISTINCT FROM nullif(p_calling, '') DESC,
                  coalesce(session.router_mac, radmeter.leading_mac(session.calledstationid, false))
                      IS NOT DISTINCT FROM p_mac DESC,
                  CASE WHEN isfinite(session.acctstarttime)
                       THEN greatest(session.acctstarttime - p_start, p_start - session.acctstarttime) END, session.radacctid
         LIMIT 1)
        UNION ALL
        (SELECT session.radacctid, session.acctuniqueid
         -- OFFSET 0, here and in radmeter.sessions_of: the alias first, also in a plan that was made when there was none.
         FROM (SELECT known.radacctid FROM radmeter.session_alias AS known WHERE known.alias = p_uid OFFSET 0) AS known
         CROSS JOIN LATERAL (SELECT radacct.radacctid, radacct.acctuniqueid, radacct.acctstarttime,
                                    radacct.calledstationid, radacct.callingstationid, radacct.router_mac
                             FROM public.radacct
                             WHERE radacct.radacctid = known.radacctid AND radacct.acctstoptime IS NULL OFFSET 0) AS session
         WHERE NOT radmeter.contradicts(
               session.callingstationid, session.router_mac, session.calledstationid, p_calling, p_mac)
         ORDER BY nullif(session.callingstationid, '') IS NOT DISTINCT FROM nullif(p_calling, '') DESC,
                  coalesce(session.router_mac, radmeter.leading_mac(session.calledstationid, false))
                      IS NOT DISTINCT FROM p_mac DESC,
                  CASE WHEN isfinite(session.acctstarttime)
                       THEN greatest(session.acctstarttime - p_start, p_start - session.acctstarttime) END, session.radacctid
         LIMIT 1)
        UNION ALL
        (SELECT session.radacctid, session.acctuniqueid
         FROM public.radacct AS session
         WHERE session.acctsessionid = p_session_id AND session.callingstationid = nullif(p_calling, '')
           AND session.acctstoptime IS NULL
           AND coalesce(session.router_mac, radmeter.leading_mac(session.calledstationid, false)) = p_mac
         ORDER BY CASE WHEN isfinite(session.acctstarttime)
                       THEN greatest(session.acctstarttime - p_start, p_start - session.acctstarttime) END, session.radacctid
         LIMIT 1)
    ) AS found
    LIMIT 1;
END;
