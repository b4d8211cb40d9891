-- radmeter.insert_sessions(seqs): inserts new sessions for records of the batch that belong to no session in the table.
-- A Start opens a session with zero octets. An Interim-Update opens a session that began Acct-Session-Time earlier. A
-- Stop inserts a closed session and counts all its octets; one that waits for its month, an open session. Beside an open
-- session of its id, an earlier one is inserted as superseded (radmeter.earlier_sessions). Writes radacct.
CREATE OR REPLACE FUNCTION radmeter.insert_sessions(p_seqs bigint[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO public.radacct (
        acctsessionid, acctuniqueid, username, realm, nasipaddress, nasportid, nasporttype,
        acctstarttime, acctupdatetime, acctstoptime, acctsessiontime,
        acctauthentic, connectinfo_start, connectinfo_stop, acctinputoctets, acctoutputoctets,
        calledstationid, callingstationid, acctterminatecause, servicetype, framedprotocol,
        framedipaddress, framedipv6address, framedipv6prefix, framedinterfaceid, delegatedipv6prefix, class,
        router_id, arrived_at, counted_at, usage_date, period_start, closed_by, interim_interval, clock_skew_seconds,
        stop_stamp, router_mac, began_at)
    SELECT
        session_id, uid, username, realm, nas_ip, nas_port_id, nas_port_type,
        start_time, event_time, CASE WHEN status = 'Stop' THEN event_time ELSE over_at END,
        CASE WHEN status = 'Start' THEN 0 ELSE session_time END,
        authentic, CASE WHEN NOT ends THEN connect_info END, CASE WHEN ends THEN connect_info END,
        CASE WHEN status = 'Start' THEN 0 ELSE input_octets END,
        CASE WHEN status = 'Start' THEN 0 ELSE output_octets END,
        called_station_id, calling_station_id, CASE WHEN ends THEN terminate_cause WHEN over_at IS NOT NULL THEN 'NAS-Reboot' END,
        service_type, framed_protocol,
        framed_ip, framed_ipv6, framed_ipv6_prefix, framed_interface_id, delegated_ipv6_prefix, class,
        router_id, received_at, event_time, usage_date, period_start, CASE WHEN ends THEN 'stop' WHEN over_at IS NOT NULL THEN 'superseded' END,
        interim_interval, skew_seconds, stop_stamp, shown_mac,
        CASE WHEN status = 'Start' OR session_time > 0
             THEN CASE WHEN stamped THEN coalesce(first_received_at, received_at) ELSE event_time END
                 - coalesce(session_time, 0) * interval '1 second' END
    FROM pg_temp.incoming, LATERAL (SELECT (status = 'Stop' OR waits) IS TRUE AS ends) AS event
    WHERE seq = ANY (p_seqs)
    ORDER BY uid;
$$;
