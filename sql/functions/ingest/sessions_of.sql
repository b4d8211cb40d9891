-- radmeter.sessions_of(uid, session_id, calling, mac, from): all sessions that a packet may be of: the open ones, and those
-- that stopped at or after `from`. Found by its acctuniqueid, or by that as an alias, unless something contradicts
-- (radmeter.contradicts); by its device key, if the session is open, or the reaper or an Accounting-On/Off closed it.
-- Returns also whether its Calling-Station-Id, and its router's MAC, are the packet's. A session may be there twice. One
-- SELECT, so that PostgreSQL puts it into the caller's query.
-- Reads radacct, radmeter.session_alias.
CREATE OR REPLACE FUNCTION radmeter.sessions_of(
    p_uid text, p_session_id text, p_calling text, p_mac macaddr, p_from timestamptz)
RETURNS TABLE (radacctid bigint, acctuniqueid text, acctstarttime timestamptz, acctupdatetime timestamptz,
               acctstoptime timestamptz, acctsessiontime bigint, closed_by text, router_id bigint, stop_stamp bigint,
               acctinputoctets bigint, acctoutputoctets bigint, input_offset bigint, output_offset bigint,
               same_calling boolean, same_mac boolean, began_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT session.radacctid, session.acctuniqueid, session.acctstarttime, session.acctupdatetime,
           session.acctstoptime, session.acctsessiontime, session.closed_by, session.router_id, session.stop_stamp,
           session.acctinputoctets, session.acctoutputoctets, session.input_offset, session.output_offset,
           nullif(session.callingstationid, '') IS NOT DISTINCT FROM nullif(p_calling, ''),
           coalesce(session.router_mac, radmeter.leading_mac(session.calledstationid, false)) IS NOT DISTINCT FROM p_mac,
           session.began_at
    FROM public.radacct AS session
    WHERE session.acctuniqueid = p_uid AND (session.acctstoptime IS NULL OR session.acctstoptime >= p_from)
      AND NOT radmeter.contradicts(
          session.callingstationid, session.router_mac, session.calledstationid, p_calling, p_mac)
    UNION ALL
    SELECT session.radacctid, session.acctuniqueid, session.acctstarttime, session.acctupdatetime,
           session.acctstoptime, session.acctsessiontime, session.closed_by, session.router_id, session.stop_stamp,
           session.acctinputoctets, session.acctoutputoctets, session.input_offset, session.output_offset,
           nullif(session.callingstationid, '') IS NOT DISTINCT FROM nullif(p_calling, ''),
           coalesce(session.router_mac, radmeter.leading_mac(session.calledstationid, false)) IS NOT DISTINCT FROM p_mac,
           session.began_at
    FROM (SELECT known.radacctid FROM radmeter.session_alias AS known WHERE known.alias = p_uid OFFSET 0) AS known
    CROSS JOIN LATERAL (SELECT radacct.radacctid, radacct.acctuniqueid, radacct.acctstarttime,
                               radacct.acctupdatetime, radacct.acctstoptime, radacct.acctsessiontime,
                               radacct.closed_by, radacct.router_id, radacct.stop_stamp, radacct.acctinputoctets,
                               radacct.acctoutputoctets, radacct.input_offset, radacct.output_offset,
                               radacct.calledstationid, radacct.callingstationid, radacct.router_mac,
                               radacct.began_at
                        FROM public.radacct
                        WHERE radacct.radacctid = known.radacctid
                          AND (radacct.acctstoptime IS NULL OR radacct.acctstoptime >= p_from) OFFSET 0) AS session
    WHERE NOT radmeter.contradicts(
          session.callingstationid, session.router_mac, session.calledstationid, p_calling, p_mac)
    UNION ALL
    SELECT session.radacctid, session.acctuniqueid, session.acctstarttime, session.acctupdatetime,
           session.acctstoptime, session.acctsessiontime, session.closed_by, session.router_id, session.stop_stamp,
           session.acctinputoctets, session.acctoutputoctets, session.input_offset, session.output_offset,
           nullif(session.callingstationid, '') IS NOT DISTINCT FROM nullif(p_calling, ''),
           coalesce(session.router_mac, radmeter.leading_mac(session.calledstationid, false)) IS NOT DISTINCT FROM p_mac,
           session.began_at
    FROM (SELECT known.radacctid FROM radmeter.session_alias AS known
          WHERE known.alias = radmeter.device_key(p_mac, p_session_id, p_calling) OFFSET 0) AS known
    CROSS JOIN LATERAL (SELECT radacct.radacctid, radacct.acctuniqueid, radacct.acctstarttime,
                               radacct.acctupdatetime, radacct.acctstoptime, radacct.acctsessiontime,
                               radacct.closed_by, radacct.router_id, radacct.stop_stamp, radacct.acctinputoctets,
                               radacct.acctoutputoctets, radacct.input_offset, radacct.output_offset,
                               radacct.calledstationid, radacct.callingstationid, radacct.router_mac,
                               radacct.acctsessionid, radacct.began_at
                        FROM public.radacct
                        WHERE radacct.radacctid = known.radacctid AND radacct.acctstoptime >= p_from OFFSET 0) AS session
    WHERE session.closed_by IN ('reaper', 'reboot')
      AND session.acctsessionid = p_session_id AND session.callingstationid = p_calling
      AND coalesce(session.router_mac, radmeter.leading_mac(session.calledstationid, false)) = p_mac
    UNION ALL
    SELECT session.radacctid, session.acctuniqueid, session.acctstarttime, session.acctupdatetime,
           session.acctstoptime, session.acctsessiontime, session.closed_by, session.router_id, session.stop_stamp,
           session.acctinputoctets, session.acctoutputoctets, session.input_offset, session.output_offset,
           nullif(session.callingstationid, '') IS NOT DISTINCT FROM nullif(p_calling, ''),
           coalesce(session.router_mac, radmeter.leading_mac(session.calledstationid, false)) IS NOT DISTINCT FROM p_mac,
           session.began_at
    FROM public.radacct AS session
    WHERE session.acctsessionid = p_session_id AND session.callingstationid = nullif(p_calling, '')
      AND session.acctstoptime IS NULL
      AND coalesce(session.router_mac, radmeter.leading_mac(session.calledstationid, false)) = p_mac;
END;
