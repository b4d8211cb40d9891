-- radmeter.unpack_records(source, records, checkpoint, highest, segment, believed): puts the records above the checkpoint
-- into the temporary table `incoming`, with their router, day and period. Plain interims of a journal are counted at once
-- (radmeter.find_plain), and do not come there. Packets that cannot be counted go to radmeter.set_aside, and so do records
-- beyond a limit (radmeter.record_fault), with as much of the record as was given. Packets whose status
-- type carries no usage are counted as ignored.
--   records   JSON array, see radmeter.ingest; NULL: they are in the temporary table `staged`. Their order is that of their
--             numbers: PostgreSQL puts a short row into a former page in which a long one had no room
--   highest   the highest number that a record may have
--   segment   the segment of a journal that the records are in; NULL: of no journal. Of a segment no record is skipped
--   believed  the latest arrival of that journal that was believed; NULL: not known
-- An arrival that is impossible (radmeter.is_believed_arrival) is not believed: the clock of the server that received
-- the packet was wrong. Nor is an arrival of a journal more than arrival_oldest_days before the database's clock, or
-- more than an hour before the latest that was believed of it: a backlog is in order. The packet was acknowledged, so it
-- counts, dated by the database's clock, as unstamped. A row of accounting_anomaly says so, one for a source and hour.
-- Detail files and rejected packets are old with good reason.
-- Returns one row about the records above the checkpoint: the last seq (NULL: there are none), their number, how many
-- of them were rejected and how many ignored, and the latest arrival that is believed (NULL: none).
-- SQLSTATE RM003: the numbers of the records cannot be those of their source. They must be above the checkpoint, each of
-- them once: a record that came twice in one call would count twice. And they must not go on too far. A segment holds fewer
-- than 2^32 records. The numbers of a detail file, or of retries, go on by less than 2^57 in a call. SQLSTATE 23514: a
-- record would be neither counted, nor set aside, nor ignored. Records that touch a router which their RADIUS client may
-- not name are set aside, if they have their packet's attributes in "pairs". SQLSTATE RM011: one of them has not
-- (radmeter.refuse_unbelieved).
-- Called by radmeter.ingest and radmeter.ingest_batch only. Writes pg_temp.staged, pg_temp.incoming, radacct, what
-- set_aside writes, and routers if one is discovered.
CREATE OR REPLACE FUNCTION radmeter.unpack_records(
    p_source text, p_records json, p_checkpoint bigint, p_highest bigint, p_segment uuid, p_believed timestamptz,
    OUT last_seq bigint, OUT records bigint, OUT rejected bigint, OUT ignored bigint, OUT last_received_at timestamptz)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_timezone text := radmeter.setting_value('timezone');
    v_rejected json;
    v_refused json;
    v_disordered bigint;
    v_plain bigint[];       -- the numbers of the plain records, which are counted (radmeter.update_plain); NULL: none
    v_earliest_us bigint;   -- of the arrivals,
    v_latest_us bigint;
    v_arrivals bigint;      -- and their number
    v_new_client boolean;   -- the shipper has not seen a record's router from that client lately
    v_now timestamptz := clock_timestamp();
    v_now_us bigint := extract(epoch FROM v_now) * 1000000;
    v_oldest_us bigint;   -- of a journal, the oldest arrival that is believed,
    v_believed_us bigint; -- and the latest one that was believed; NULL: of no journal
    v_unpacked bigint;    -- records that are to be counted,
    v_routerless bigint;  -- those of them whose router is not known yet
    v_undated bigint;     -- records whose arrival is not believed,
    v_arrival_us bigint;  -- and the last one's arrival
BEGIN
    IF p_records IS NULL THEN
        PERFORM radmeter.prepare_table('staged', true);
    ELSE
        PERFORM radmeter.stage();
        INSERT INTO pg_temp.staged SELECT * FROM json_populate_recordset(NULL::pg_temp.staged, p_records);
    END IF;
    IF p_segment IS NULL THEN
        DELETE FROM pg_temp.staged WHERE seq BETWEEN 1 AND p_checkpoint;
    END IF;
    PERFORM radmeter.prepare_incoming();
    SELECT max(seq), count(*), count(*) FILTER (WHERE (seq > previous_seq) IS NOT TRUE), bool_or(new_client),
           min(received_us), max(received_us), count(received_us)
    INTO last_seq, records, v_disordered, v_new_client, v_earliest_us, v_latest_us, v_arrivals
    FROM (SELECT seq, received_us, new_client, lag(seq, 1, p_checkpoint) OVER (ORDER BY seq) AS previous_seq
          FROM pg_temp.staged) AS given;
    IF v_disordered > 0 THEN
        RAISE EXCEPTION 'source "%": % records have numbers that are not above % or come twice',
            p_source, v_disordered, CASE WHEN p_segment IS NULL THEN 0 ELSE p_checkpoint END USING ERRCODE = 'RM003';
    ELSIF last_seq > p_highest THEN
        RAISE EXCEPTION 'source "%": number % is too far above the last one, %: no journal goes on so far',
            p_source, last_seq, p_checkpoint USING ERRCODE = 'RM003';
    END IF;
    IF p_segment IS NOT NULL THEN
        v_oldest_us := coalesce(v_now_us - radmeter.limit_value('arrival_oldest_days') * 86400000000, 0);
        v_believed_us := CASE WHEN p_believed IS NULL THEN v_oldest_us
                              ELSE least(extract(epoch FROM p_believed) * 1000000, v_now_us)::bigint END;
    END IF;

    -- All arrivals are believed: see is_dated below.
    IF p_segment IS NOT NULL AND v_arrivals = records
            AND radmeter.is_believed_arrival(v_earliest_us, v_now_us)
            AND radmeter.is_believed_arrival(v_latest_us, v_now_us)
            AND v_earliest_us >= v_oldest_us
            AND v_earliest_us >= greatest(v_believed_us, least(v_latest_us, v_now_us)) - 3600000000 THEN
        SELECT radmeter.update_plain(places, router_ids, usage_dates, usernames) INTO v_plain
        FROM radmeter.find_plain() WHERE places IS NOT NULL;
    END IF;

    WITH given AS (
        SELECT record.*, row_number() OVER (ORDER BY seq) AS place,
               radmeter.is_believed_arrival(received_us, v_now_us)
                   AND (v_believed_us IS NULL
                        OR received_us >= v_oldest_us
                           AND received_us >= greatest(v_believed_us, max(least(received_us, v_now_us)) FILTER (
                               WHERE radmeter.is_believed_arrival(received_us, v_now_us) AND received_us >= v_oldest_us)
                               OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) - 3600000000) AS is_dated
        FROM pg_temp.staged AS record
        WHERE seq NOT IN (SELECT unnest(v_plain))
    ), parsed AS MATERIALIZED (
        SELECT given.*, is_dated AND stamped AS is_stamped,
               CASE WHEN ignored IS NULL THEN
                   coalesce(reason, radmeter.record_fault(status, uid, session_id, nas_ip, router_key,
                       CASE WHEN is_dated THEN received_us END, event_us, stamped, session_time,
                       input_octets, output_octets, gigawords, interim_interval)) END AS fault,
               -- Microseconds apart, so that they stay in order.
               CASE WHEN is_dated THEN timestamptz 'epoch' + received_us * interval '1 microsecond'
                    ELSE v_now + place * interval '1 microsecond' END AS received_at,
               CASE WHEN is_dated AND event_us BETWEEN 0 AND 2 * v_now_us
                    THEN timestamptz 'epoch' + event_us * interval '1 microsecond'
                    -- Only Acct-Delay-Time tells how long before such an arrival the event was.
                    ELSE v_now + place * interval '1 microsecond'
                        - CASE WHEN NOT stamped
                                    AND event_us BETWEEN greatest(received_us, -9000000000000000000) - 604800000000
                                                     AND received_us
                               THEN received_us - event_us ELSE 0 END * interval '1 microsecond' END AS event_time
        FROM given
    ), matched AS MATERIALIZED (
        SELECT * FROM radmeter.matched_routers(v_plain)
    ), unpacked AS (
        INSERT INTO pg_temp.incoming (
            seq, segment, round, status, uid, session_id, username, realm, nas_ip, nas_port_id, nas_port_type,
            event_time, belongs_from, start_time, stamped, received_at, session_time,
            authentic, connect_info, input_octets, output_octets, gigawords, called_station_id, calling_station_id,
            terminate_cause, service_type, framed_protocol, framed_ip, framed_ipv6, framed_ipv6_prefix,
            framed_interface_id, delegated_ipv6_prefix, class, router_id, interim_interval, skew_seconds,
            usage_date, period_start, stop_stamp, router_mac, nas_mac, nas_identifier, router_ip, client_ip, received_us,
            pairs, component, open_uid, shown_mac)
        SELECT parsed.seq, 0, CASE WHEN parsed.status NOT IN ('Accounting-On', 'Accounting-Off') THEN 1 END,
               parsed.status, uid, session_id, nullif(username, ''), realm, nas_ip, nas_port_id, nas_port_type,
               event_time,
               -- Without Acct-Session-Time the start is unknown: allow 10 minutes.
               event_time - coalesce(session_time, CASE parsed.status WHEN 'Start' THEN 0 ELSE 600 END)
                   * interval '1 second' - radmeter.arrival_allowance(is_stamped),
               event_time - coalesce(session_time, 0) * interval '1 second',
               is_stamped, received_at, session_time,
               authentic, connect_info, input_octets, output_octets, gigawords, called_station_id, calling_station_id,
               terminate_cause, service_type, framed_protocol, framed_ip, framed_ipv6, framed_ipv6_prefix,
               framed_interface_id, delegated_ipv6_prefix, class, matched.router_id, parsed.interim_interval,
               CASE WHEN is_dated THEN skew_seconds END,
               (event_time AT TIME ZONE coalesce(matched.timezone, v_timezone))::date,
               radmeter.period_start(plan.quota_type, plan.anchor_day, subscriber.quota_start,
                   (event_time AT TIME ZONE coalesce(plan.timezone, v_timezone))::date),
               -- Also if the stamp or the arrival is not believed. Absurd ones are cut off at what a bigint holds.
               CASE WHEN parsed.status = 'Stop' AND skew_seconds IS NOT NULL
                    THEN least(greatest(floor(received_us / 1000000.0) + skew_seconds, -9e18), 9e18)::bigint END,
               router_mac, parsed.nas_mac, parsed.nas_identifier, router_ip, client_ip, received_us, pairs,
               uid, uid, coalesce(router_mac, parsed.nas_mac)
        FROM parsed
        -- No WHERE: the planner would expect nearly no row, and would choose a nested loop.
        JOIN matched ON matched.router_key = CASE WHEN fault IS NULL AND parsed.ignored IS NULL THEN parsed.router_key END
        LEFT JOIN public.subscribers AS subscriber USING (username)
        LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
    )
    SELECT count(fault), count(parsed.ignored), max(received_at) FILTER (WHERE is_dated),
           count(*) FILTER (WHERE NOT is_dated), (array_agg(received_us ORDER BY seq DESC) FILTER (WHERE NOT is_dated))[1],
           json_agg(json_build_object('seq', seq, 'received_at', received_at, 'received_us', received_us,
               'client_ip', client_ip, 'reason', fault,
               'pairs', coalesce(pairs, (jsonb_strip_nulls(to_jsonb(parsed)) - ARRAY['place', 'is_dated',
                   'is_stamped', 'fault', 'new_client', 'received_at', 'event_time'])::json))) FILTER (WHERE fault IS NOT NULL)
    INTO rejected, ignored, last_received_at, v_undated, v_arrival_us, v_rejected
    FROM parsed;
    IF v_plain IS NOT NULL THEN
        last_received_at := timestamptz 'epoch' + v_latest_us * interval '1 microsecond';
    END IF;

    IF v_undated > 0 THEN
        UPDATE public.accounting_anomaly SET
            records = records + v_undated, event_time = v_now,
            ahead_seconds = round(v_arrival_us / 1000000.0 - extract(epoch FROM v_now))
        WHERE id = (SELECT max(id) FROM public.accounting_anomaly
                    WHERE kind = 'server clock' AND source = p_source AND detected_at > v_now - interval '1 hour');
        IF NOT FOUND THEN
            INSERT INTO public.accounting_anomaly (kind, detected_at, event_time, source, records, ahead_seconds)
            VALUES ('server clock', v_now, v_now, p_source, v_undated,
                    round(v_arrival_us / 1000000.0 - extract(epoch FROM v_now)));
        END IF;
    END IF;

    SELECT count(*), count(*) - count(router_id) INTO v_unpacked, v_routerless FROM pg_temp.incoming;
    -- Else the progress would go on over a record of which nothing is kept.
    IF v_unpacked + rejected + ignored + coalesce(cardinality(v_plain), 0) <> records THEN
        RAISE EXCEPTION 'source "%": of % records % would be counted, % set aside and % ignored: the rest would be lost',
            p_source, records, v_unpacked + coalesce(cardinality(v_plain), 0), rejected, ignored USING ERRCODE = 'check_violation';
    END IF;
    IF v_routerless > 0 THEN
        PERFORM radmeter.discover_routers();
    END IF;
    IF EXISTS (SELECT FROM public.routers WHERE clients IS NOT NULL) THEN
        PERFORM radmeter.refuse_unbelieved();
        WITH refused AS (
            DELETE FROM pg_temp.incoming WHERE refused IS NOT NULL
            RETURNING seq, received_at, received_us, client_ip, refused AS reason, pairs
        )
        SELECT rejected + count(*), json_agg(refused ORDER BY seq) INTO rejected, v_refused FROM refused;
    END IF;
    IF rejected > 0 THEN
        -- In one call: it judges the packets of a client in their order.
        PERFORM radmeter.set_aside(p_source, p_segment, array_to_json(ARRAY(
            SELECT json_array_elements(v_rejected) UNION ALL SELECT json_array_elements(v_refused))));
    END IF;
    IF v_new_client THEN
        PERFORM radmeter.note_networks();
    END IF;
    IF EXISTS (SELECT FROM radmeter.tenant_realm) THEN
        PERFORM radmeter.qualify_names();
    END IF;
END;
$$;
