-- radmeter.note_device_keys(radacctids): notes the device keys of those of these sessions that are closed now, so that
-- radmeter.sessions_of finds them by it. Called when the reaper or an Accounting-On/Off has closed them: only then may a
-- packet open a closed session again, and a router that was out of reach comes back with another address.
-- Writes radmeter.session_alias.
CREATE OR REPLACE FUNCTION radmeter.note_device_keys(p_radacctids bigint[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO radmeter.session_alias AS known (alias, radacctid)
    SELECT alias, radacctid
    FROM (SELECT radacctid, radmeter.device_key(
              coalesce(router_mac, radmeter.leading_mac(calledstationid, false)), acctsessionid, callingstationid) AS alias
          FROM public.radacct WHERE radacctid = ANY (p_radacctids) AND acctstoptime IS NOT NULL) AS closed
    WHERE alias IS NOT NULL
    ORDER BY alias
    ON CONFLICT (alias, radacctid) DO UPDATE SET noted_at = excluded.noted_at;
$$;
