-- radmeter.erase_sessions(username, radacctids, stops): puts the pseudonym of the erasure under way into sessions of a
-- user, and clears what else tells who it was. The trigger on radacct moves their usage to the pseudonym, period by period.
--   stops  acctstoptime of each session, which tells its partition; NULL for an open one. A session whose stop has changed
--          since is skipped; a later batch has it.
-- Octets, days, times, routers and acctuniqueid stay: a late packet finds its session by acctuniqueid. The session id
-- goes, since some routers make it from the MAC of the device. So does the device key in radmeter.session_alias.
-- The caller passes batches of bounded size, because ingest waits for each. Returns how many sessions were changed.
-- Writes radacct, radmeter.session_alias, radmeter.sent_username, radmeter.adoption_baseline, radmeter.erasure.
CREATE OR REPLACE FUNCTION radmeter.erase_sessions(
    p_username text, p_radacctids bigint[], p_stops timestamptz[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- One index lookup for each session, in its partition only.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
    v_pseudonym text := radmeter.erasure_pseudonym(p_username);
    v_open integer;
    v_closed integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    DELETE FROM radmeter.session_alias AS known
    USING unnest(p_radacctids, p_stops) AS found (radacctid, acctstoptime)
    JOIN public.radacct AS session
        ON session.radacctid = found.radacctid AND session.acctstoptime = found.acctstoptime AND session.username = p_username
    WHERE known.radacctid = found.radacctid AND known.alias = radmeter.device_key(
        coalesce(session.router_mac, radmeter.leading_mac(session.calledstationid, false)),
        session.acctsessionid, session.callingstationid);
    DELETE FROM radmeter.sent_username WHERE radacctid = ANY (p_radacctids);
    UPDATE public.radacct AS session SET
        username = v_pseudonym, acctsessionid = 'erased', realm = NULL, nasportid = NULL,
        connectinfo_start = NULL, connectinfo_stop = NULL, callingstationid = NULL,
        framedipaddress = NULL, framedipv6address = NULL, framedipv6prefix = NULL, framedinterfaceid = NULL,
        delegatedipv6prefix = NULL, class = NULL
    FROM unnest(p_radacctids, p_stops) AS found (radacctid, acctstoptime)
    WHERE session.radacctid = found.radacctid AND session.acctstoptime = found.acctstoptime
      AND session.username = p_username;
    GET DIAGNOSTICS v_closed = ROW_COUNT;
    UPDATE public.radacct AS session SET
        username = v_pseudonym, acctsessionid = 'erased', realm = NULL, nasportid = NULL,
        connectinfo_start = NULL, connectinfo_stop = NULL, callingstationid = NULL,
        framedipaddress = NULL, framedipv6address = NULL, framedipv6prefix = NULL, framedinterfaceid = NULL,
        delegatedipv6prefix = NULL, class = NULL
    FROM unnest(p_radacctids, p_stops) AS found (radacctid, acctstoptime)
    WHERE found.acctstoptime IS NULL AND session.radacctid = found.radacctid AND session.acctstoptime IS NULL
      AND session.username = p_username;
    GET DIAGNOSTICS v_open = ROW_COUNT;
    -- The trigger has kept the name there for an adopted session. What it says is counted stays: the plan is the same.
    UPDATE radmeter.adoption_baseline SET username = v_pseudonym
    WHERE radacctid = ANY (p_radacctids) AND username = p_username;
    PERFORM radmeter.count_erased(p_username, 'radacct', v_open + v_closed);
    RETURN v_open + v_closed;
END;
$$;
