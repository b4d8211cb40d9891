-- radmeter.update_open(segment, round [, seqs, later]): applies the records of a round to their open sessions.
--   seqs   if given: only these records, and to the sessions that radmeter.find_open has found. Else each record that is
--          no Start, to the session that has its acctuniqueid, and its Calling-Station-Id or, if neither has one, its
-- router's MAC. That is
--          the one that radmeter.open_session would find, and most records have it
--   later  also to sessions that began after the record's event, that the record supersedes (radmeter.supersedes), or
--          that a Stop does not fit, which may be a repeat (radmeter.fits_session)
-- A record that found its session by its device key makes its acctuniqueid an alias of the session.
-- Returns the seqs of records that found no session. Writes radacct, radmeter.session_alias.
-- A Stop moves the row to the partition of its month. This is a plain UPDATE: if MERGE moved the row, the triggers
-- would see an insert and count it again. All values are computed in SET, from the row as it is when it is locked. A
-- value that was read in a join before could be outdated by another writer.
CREATE OR REPLACE FUNCTION radmeter.update_open(
    p_segment integer, p_round integer, p_seqs bigint[] DEFAULT NULL, p_later boolean DEFAULT false) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- One index lookup for each record. The temporary table has no statistics, so the planner might choose otherwise.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_taken bigint[];
    v_aliases text[];     -- the ids of records that are not their session's,
    v_alias_ids bigint[]; -- and the session's radacctid
BEGIN
    WITH taken AS (
        UPDATE public.radacct AS session SET (
            acctstarttime, acctupdatetime, acctstoptime, acctinterval, acctsessiontime,
            acctinputoctets, acctoutputoctets, input_offset, output_offset, counted_at, usage_date, period_start,
            username, acctauthentic, connectinfo_start, connectinfo_stop, acctterminatecause, closed_by,
            framedipaddress, framedipv6address, framedipv6prefix, framedinterfaceid, delegatedipv6prefix,
            arrived_at, interim_interval, clock_skew_seconds, router_id, late_start_at,
            stop_stamp, calledstationid, callingstationid, router_mac
        ) = (
            SELECT
                CASE WHEN is_start THEN least(session.acctstarttime, record.event_time)
                     ELSE coalesce(session.acctstarttime, record.start_time) END,
                CASE WHEN is_late_start THEN session.acctupdatetime
                     ELSE greatest(last_update, record.event_time) END,
                CASE WHEN is_stop THEN greatest(record.event_time, radmeter.last_possible_time(
                         session.acctstarttime, record.event_time)) END,
                CASE WHEN newer AND NOT is_start
                     THEN extract(epoch FROM record.event_time - last_update)::bigint
                     ELSE session.acctinterval END,
                CASE WHEN ends AND record.session_time IS NOT NULL THEN record.session_time
                     WHEN newer AND NOT is_start
                     THEN coalesce(record.session_time,
                                   extract(epoch FROM record.event_time - began)::bigint)
                     -- A session without octets may have begun anew.
                     WHEN is_start AND NOT is_late_start AND record.event_time > session.acctupdatetime THEN 0
                     ELSE session.acctsessiontime END,
                octets_in, octets_out, offset_in, offset_out,
                CASE WHEN counts THEN record.event_time ELSE session.counted_at END,
                CASE WHEN NOT counts THEN session.usage_date
                     -- An adopted session may have no router_id: its first packet names the router.
                     WHEN coalesce(session.router_id, record.router_id) = record.router_id THEN record.usage_date
                     ELSE radmeter.usage_date(session.router_id, record.event_time) END,
                CASE WHEN NOT counts THEN session.period_start
                     WHEN session.username IS NULL OR session.username IN ('', record.username) THEN record.period_start
                     ELSE radmeter.user_period_start(session.username, record.event_time) END,
                coalesce(nullif(session.username, ''), record.username),
                coalesce(session.acctauthentic, record.authentic),
                CASE WHEN NOT erased
                     THEN coalesce(session.connectinfo_start, CASE WHEN NOT ends THEN record.connect_info END) END,
                CASE WHEN erased THEN NULL WHEN ends THEN record.connect_info ELSE session.connectinfo_stop END,
                CASE WHEN ends THEN record.terminate_cause WHEN still_waits THEN session.acctterminatecause END,
                CASE WHEN ends OR still_waits THEN 'stop' END,
                CASE WHEN NOT erased THEN coalesce(record.framed_ip, session.framedipaddress) END,
                CASE WHEN NOT erased THEN coalesce(record.framed_ipv6, session.framedipv6address) END,
                CASE WHEN NOT erased THEN coalesce(record.framed_ipv6_prefix, session.framedipv6prefix) END,
                CASE WHEN NOT erased THEN coalesce(record.framed_interface_id, session.framedinterfaceid) END,
                CASE WHEN NOT erased THEN coalesce(record.delegated_ipv6_prefix, session.delegatedipv6prefix) END,
                greatest(session.arrived_at, record.received_at),
                coalesce(record.interim_interval, session.interim_interval),
                coalesce(record.skew_seconds, session.clock_skew_seconds),
                coalesce(session.router_id, record.router_id),
                CASE WHEN is_late_start THEN coalesce(session.late_start_at, record.event_time)
                     -- The late Start was a repeat. An unstamped packet may be one, too, and decides nothing then.
                     WHEN NOT is_start AND session.late_start_at <= record.event_time
                          AND (record.stamped OR coalesce(record.session_time > session.acctsessiontime, true))
                     THEN NULL
                     ELSE session.late_start_at END,
                CASE WHEN still_waits AND NOT ends THEN session.stop_stamp ELSE record.stop_stamp END,
                coalesce(nullif(session.calledstationid, ''), record.called_station_id, session.calledstationid),
                CASE WHEN NOT erased THEN coalesce(nullif(session.callingstationid, ''), record.calling_station_id,
                                                   session.callingstationid) END,
                coalesce(record.shown_mac, session.router_mac)
            -- OFFSET 0: what a step computes is a column for the next one. Else PostgreSQL puts its text into each place that
            -- names it: it is computed there anew, and functions with it as argument are called and not inlined. It was two
            -- thirds of the time.
            -- Another program may have written any value. An impossible one is as good as none.
            FROM (SELECT CASE WHEN radmeter.is_possible_time(session.acctupdatetime) THEN session.acctupdatetime END
                             AS last_update,
                         CASE WHEN radmeter.is_possible_time(session.acctstarttime) THEN session.acctstarttime END AS began,
                         CASE WHEN session.acctsessiontime BETWEEN 0 AND 400 * 86400 THEN session.acctsessiontime END
                             AS last_seconds,
                         radmeter.unusable_octets(session.acctinputoctets, session.acctoutputoctets,
                             session.adopted AND session.counted_at IS NULL) AS unusable OFFSET 0) AS kept,
                LATERAL (SELECT record.status = 'Start' AS is_start, record.status = 'Stop' AS is_stop,
                         (record.status = 'Stop' OR record.waits) IS TRUE AS ends,
                         record.status = 'Start' AND record.event_time > last_update
                             AND (session.acctinputoctets > 0 OR session.acctoutputoctets > 0) IS TRUE AS is_late_start,
                         -- The user was erased (radmeter people erase): no packet brings personal attributes back.
                         coalesce(radmeter.is_pseudonym(session.username), false) AS erased OFFSET 0) AS event,
                -- In rlm_sql a repeated Start sets acctupdatetime back. An adopted session's acctsessiontime shows
                -- that.
                LATERAL (SELECT CASE WHEN session.adopted AND session.counted_at IS NULL
                                     THEN greatest(last_update, began + last_seconds * interval '1 second')
                                     ELSE last_update END AS last_time OFFSET 0) AS last,
                LATERAL (SELECT radmeter.is_newer(last_time, last_seconds,
                                    record.event_time, record.session_time, record.stamped) AS newer,
                                radmeter.is_current(last_time, last_seconds,
                                    record.event_time, record.session_time, record.stamped) AS current OFFSET 0) AS time_order,
                -- A session whose Stop waits for its month goes on waiting, unless a newer packet shows that it went on.
                LATERAL (SELECT (session.closed_by = 'stop' AND (is_start OR NOT newer)) IS TRUE AS still_waits) AS waiting,
                -- A Start never moves counters, whatever octets it carries.
                LATERAL (SELECT CASE WHEN NOT is_start THEN record.input_octets END AS reported_in,
                                CASE WHEN NOT is_start THEN record.output_octets END AS reported_out,
                                CASE WHEN NOT unusable THEN session.acctinputoctets END AS known_in,
                                CASE WHEN NOT unusable THEN session.acctoutputoctets END AS known_out,
                                CASE WHEN unusable THEN 0 ELSE session.input_offset END AS known_offset_in,
                                CASE WHEN unusable THEN 0 ELSE session.output_offset END AS known_offset_out OFFSET 0) AS reported,
                LATERAL (SELECT
                    radmeter.counted_offset(known_in, known_offset_in,
                        reported_in, newer, current, record.gigawords,
                        record.session_time, last_seconds, record.router_id) AS offset_in,
                    radmeter.counted_octets(known_in, known_offset_in,
                        reported_in, newer, current, record.gigawords,
                        record.session_time, last_seconds, record.router_id) AS octets_in,
                    radmeter.counted_offset(known_out, known_offset_out,
                        reported_out, newer, current, record.gigawords,
                        record.session_time, last_seconds, record.router_id) AS offset_out,
                    radmeter.counted_octets(known_out, known_offset_out,
                        reported_out, newer, current, record.gigawords,
                        record.session_time, last_seconds, record.router_id) AS octets_out OFFSET 0) AS counted,
                LATERAL (SELECT octets_in IS DISTINCT FROM session.acctinputoctets
                             OR octets_out IS DISTINCT FROM session.acctoutputoctets AS counts) AS moved
        )
        FROM (SELECT * FROM pg_temp.incoming
              WHERE segment = p_segment AND round = p_round
                AND CASE WHEN p_seqs IS NULL THEN status <> 'Start' ELSE open_id IS NOT NULL AND seq = ANY (p_seqs) END
              ORDER BY uid) AS record
        WHERE session.acctuniqueid = record.open_uid AND session.acctstoptime IS NULL
          AND CASE WHEN p_seqs IS NOT NULL THEN session.radacctid = record.open_id
                   WHEN record.calling_station_id <> '' THEN session.callingstationid = record.calling_station_id
                   ELSE session.router_mac = record.shown_mac AND coalesce(session.callingstationid, '') = '' END
          AND (p_later
               OR (session.acctstarttime IS NULL OR record.event_time >= session.acctstarttime)
                  AND (radmeter.supersedes(record.status, record.event_time, record.start_time, record.session_time,
                           record.stamped, coalesce(record.first_received_at, record.received_at),
                           record.input_octets, record.output_octets, record.router_id, session.acctstarttime,
                           session.acctupdatetime, session.arrived_at, session.late_start_at)) IS NOT TRUE
                  AND (record.status <> 'Stop' AND record.waits IS NOT TRUE
                       OR radmeter.fits_session(record.start_time, record.session_time, session.acctstarttime,
                              session.late_start_at)))
        RETURNING record.seq, record.uid, session.radacctid, session.acctuniqueid <> record.uid AS by_another_id
    )
    SELECT array_agg(seq), array_agg(uid) FILTER (WHERE by_another_id),
           array_agg(radacctid) FILTER (WHERE by_another_id)
    INTO v_taken, v_aliases, v_alias_ids FROM taken;
    IF v_aliases IS NOT NULL THEN
        INSERT INTO radmeter.session_alias (alias, radacctid) SELECT * FROM unnest(v_aliases, v_alias_ids)
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN ARRAY(
        SELECT seq FROM pg_temp.incoming
        WHERE segment = p_segment AND round = p_round AND (p_seqs IS NULL OR seq = ANY (p_seqs))
        EXCEPT SELECT unnest(v_taken));
END;
$$;
