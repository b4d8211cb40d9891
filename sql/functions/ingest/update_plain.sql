-- radmeter.update_plain(places, router_ids, usage_dates, usernames): applies plain records to their open sessions.
-- The arguments are what radmeter.find_plain returns.
-- A record is plain if radmeter.update_open would change only these 11 columns of its session, and these to the same
-- values. So the condition has, for each other column that update_open sets, when it stays: the rules are there. All of it
-- is asked of the row as it is when it is locked.
-- Returns the seqs of the records that were applied; NULL: none. The others go the general way.
-- Called by radmeter.unpack_records only. Reads pg_temp.staged, subscribers, plans. Writes radacct.
CREATE OR REPLACE FUNCTION radmeter.update_plain(
    p_places tid[], p_router_ids bigint[], p_usage_dates date[], p_usernames text[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- Index lookups for each record. The temporary table has no statistics, so the planner might choose otherwise.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_taken bigint[];
    v_timezone text := radmeter.setting_value('timezone');
BEGIN
    WITH taken AS (
        UPDATE public.radacct AS session SET
            acctupdatetime = record.event_time,
            acctinterval = extract(epoch FROM record.event_time - session.acctupdatetime)::bigint,
            acctsessiontime = record.session_time,
            acctinputoctets = session.input_offset + record.input_octets,
            acctoutputoctets = session.output_offset + record.output_octets,
            -- Octets that are the same as before do not count.
            counted_at = CASE WHEN (session.acctinputoctets, session.acctoutputoctets)
                    <> (session.input_offset + record.input_octets, session.output_offset + record.output_octets)
                THEN record.event_time ELSE session.counted_at END,
            usage_date = CASE WHEN (session.acctinputoctets, session.acctoutputoctets)
                    <> (session.input_offset + record.input_octets, session.output_offset + record.output_octets)
                THEN record.usage_date ELSE session.usage_date END,
            period_start = CASE WHEN (session.acctinputoctets, session.acctoutputoctets)
                    <> (session.input_offset + record.input_octets, session.output_offset + record.output_octets)
                THEN record.period_start ELSE session.period_start END,
            framedipaddress = coalesce(record.framed_ip, session.framedipaddress),
            arrived_at = greatest(session.arrived_at, record.received_at),
            clock_skew_seconds = coalesce(record.skew_seconds, session.clock_skew_seconds)
        FROM (SELECT staged.*, found.router_id, found.usage_date, found.name, event_time,
                     radmeter.period_start(plan.quota_type, plan.anchor_day, subscriber.quota_start,
                         (event_time AT TIME ZONE coalesce(plan.timezone, v_timezone))::date) AS period_start,
                     timestamptz 'epoch' + received_us * interval '1 microsecond' AS received_at
              FROM unnest(p_places, p_router_ids, p_usage_dates, p_usernames) AS found (place, router_id, usage_date, name)
              JOIN pg_temp.staged ON staged.ctid = found.place
              CROSS JOIN LATERAL (SELECT timestamptz 'epoch' + event_us * interval '1 microsecond' AS event_time) AS event
              LEFT JOIN public.subscribers AS subscriber ON subscriber.username = found.name
              LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
              ORDER BY uid COLLATE "C") AS record
        -- The session that update_open would find first, and no later session of its id.
        WHERE session.acctuniqueid = record.uid AND session.acctstoptime IS NULL
          AND session.callingstationid = record.calling_station_id AND session.acctsessionid = record.session_id
          AND session.acctstarttime <= record.event_time
          -- The record is newer, and its session began before the last update: it does not supersede the session.
          AND session.acctupdatetime < record.event_time AND radmeter.is_possible_time(session.acctupdatetime)
          AND record.event_time - (record.session_time + 60) * interval '1 second' <= session.acctupdatetime
          AND session.late_start_at IS NULL
          -- No octets from before radmeter, no Stop that waits for its month, no erased user.
          AND session.adopted IS NOT TRUE
          AND session.closed_by IS NULL AND session.acctterminatecause IS NULL AND session.stop_stamp IS NULL
          AND session.username = record.name AND NOT radmeter.is_pseudonym(session.username)
          AND session.router_id = record.router_id
          -- The octets are not less than before: neither a wrap nor a restart.
          AND CASE WHEN session.acctinputoctets IS NULL OR session.acctoutputoctets IS NULL
                        OR radmeter.unusable_octets(session.acctinputoctets, session.acctoutputoctets, false) THEN false
                   ELSE record.input_octets >= session.acctinputoctets - session.input_offset
                    AND record.output_octets >= session.acctoutputoctets - session.output_offset
                    AND greatest(session.input_offset + record.input_octets,
                                 session.output_offset + record.output_octets) <= 4611686018427387904 END
          -- What describes the session is absent, or as the session has it.
          AND (session.acctauthentic IS NOT NULL OR record.authentic IS NULL)
          AND (session.connectinfo_start IS NOT NULL OR record.connect_info IS NULL)
          AND (session.calledstationid <> '' OR record.called_station_id IS NULL)
          AND (session.router_mac = coalesce(record.router_mac, record.nas_mac)
               OR coalesce(record.router_mac, record.nas_mac) IS NULL)
          AND (record.framed_ipv6 IS NULL OR session.framedipv6address = record.framed_ipv6)
          AND (record.framed_ipv6_prefix IS NULL OR session.framedipv6prefix = record.framed_ipv6_prefix)
          AND (record.framed_interface_id IS NULL OR session.framedinterfaceid = record.framed_interface_id)
          AND (record.delegated_ipv6_prefix IS NULL OR session.delegatedipv6prefix = record.delegated_ipv6_prefix)
          AND (record.interim_interval IS NULL OR session.interim_interval = record.interim_interval)
        RETURNING record.seq
    )
    SELECT array_agg(seq) INTO v_taken FROM taken;
    RETURN v_taken;
END;
$$;
