-- radmeter.unpack_records(source, records, checkpoint): puts the records above the checkpoint into the temporary table
-- `incoming`, with their router, day and period. Packets that cannot be counted go to radmeter.set_aside, and so do
-- records beyond a limit (radmeter.record_fault), with as much of the record as was given. Packets whose status type
-- carries no usage are counted as ignored.
-- An arrival that is impossible (radmeter.is_believed_arrival) is not believed: the clock of the server that received
-- the packet was wrong. The packet was acknowledged, so it counts, dated by the database's clock, as
-- unstamped. A row of accounting_anomaly says so, one for a source and hour.
-- Returns one row about the records above the checkpoint: the last seq (NULL: there are none), their number, how many
-- of them were rejected and how many ignored, and the last arrival.
-- SQLSTATE RM003: the numbers of the records cannot be those of a journal. They must be above 0 and increase: a record
-- that came twice in one call would count twice. And they must not go on too far: a journal goes on by
-- 2 * 2^32 when radiusd starts (plugin/journal/files.py, GAP). 2^57 are 2^24 starts. The plugin starts a journal at most
-- every 0.2 s, so that would take it 39 days, without one record that is shipped.
-- Records that name a router which their RADIUS client may not name are set aside, if they have their packet's
-- attributes in "pairs". SQLSTATE RM011: one of them has not (radmeter.refuse_unbelieved).
-- Called by radmeter.ingest_batch only. Writes pg_temp.incoming, what set_aside writes, and routers if one is
-- discovered.
CREATE OR REPLACE FUNCTION radmeter.unpack_records(
    p_source text, p_records json, p_checkpoint bigint,
    OUT last_seq bigint, OUT records bigint, OUT rejected bigint, OUT ignored bigint, OUT last_received_at timestamptz)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_timezone text := radmeter.setting_value('timezone');
    v_rejected json;
    v_refused json;
    v_disordered bigint;
    v_bound boolean;        -- a record names a router that only some RADIUS clients may name
    v_new_client boolean;   -- the shipper has not seen a record's router from that client lately
    v_now timestamptz := clock_timestamp();
    v_now_us bigint := extract(epoch FROM v_now) * 1000000;
    v_undated bigint;     -- records whose arrival is not believed,
    v_arrival_us bigint;  -- and the last one's arrival
BEGIN
    PERFORM radmeter.prepare_incoming();

    WITH given AS (
        SELECT record.*, row_number() OVER () AS place, lag(seq, 1, 0::bigint) OVER () AS previous_seq,
               radmeter.is_believed_arrival(received_us, v_now_us) AS is_dated
        FROM json_to_recordset(p_records) AS record (
            seq bigint, received_us bigint, status text, uid text, session_id text, username text, realm text,
            nas_ip inet, nas_port_id text, nas_port_type text, event_us bigint, stamped boolean, session_time bigint,
            authentic text, connect_info text, input_octets bigint, output_octets bigint, gigawords boolean,
            called_station_id text, calling_station_id text, terminate_cause text, service_type text,
            framed_protocol text, framed_ip inet, framed_ipv6 inet, framed_ipv6_prefix inet,
            framed_interface_id text, delegated_ipv6_prefix inet, class text,
            router_key text, router_mac macaddr, nas_mac macaddr, nas_identifier text, router_ip inet,
            interim_interval integer, skew_seconds bigint, client_ip inet, reason text, pairs json,
            ignored text, new_client boolean)
        WHERE (seq BETWEEN 1 AND p_checkpoint) IS NOT TRUE
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
    ), keys AS MATERIALIZED (
        SELECT DISTINCT ON (router_key)
               router_key, router_mac AS mac, nas_mac, nas_identifier, router_ip AS ip
        FROM parsed WHERE fault IS NULL AND ignored IS NULL ORDER BY router_key
    ), matched AS MATERIALIZED (
        -- This join is the first rule of match_router. It matches nearly all keys, and a call for each key would take
        -- longer. It also finds the time zone and the clients, if the router was not merged into another.
        SELECT router_key, router_id,
               CASE WHEN router_id = found_id THEN found_timezone
                    ELSE (SELECT timezone FROM public.routers WHERE id = router_id) END AS timezone,
               CASE WHEN router_id = found_id THEN found_bound
                    ELSE (SELECT clients IS NOT NULL FROM public.routers WHERE id = router_id) END AS bound
        FROM (
            SELECT router_key, router.id AS found_id, router.timezone AS found_timezone,
                   router.clients IS NOT NULL AS found_bound,
                   coalesce(router.merged_into, router.id,
                            radmeter.match_router(keys.mac, nas_mac, keys.nas_identifier, ip)) AS router_id
            FROM keys LEFT JOIN public.routers AS router ON router.mac = keys.mac
            OFFSET 0) AS found  -- OFFSET 0: match_router is called once, not once for each column that uses its result
    ), unpacked AS (
        INSERT INTO pg_temp.incoming (
            seq, segment, round, status, uid, session_id, username, realm, nas_ip, nas_port_id, nas_port_type,
            event_time, belongs_from, start_time, stamped, received_at, session_time,
            authentic, connect_info, input_octets, output_octets, gigawords, called_station_id, calling_station_id,
            terminate_cause, service_type, framed_protocol, framed_ip, framed_ipv6, framed_ipv6_prefix,
            framed_interface_id, delegated_ipv6_prefix, class, router_id, interim_interval, skew_seconds,
            usage_date, period_start, router_mac, nas_mac, nas_identifier, router_ip, client_ip, received_us, pairs)
        SELECT parsed.seq, 0, CASE WHEN parsed.status NOT IN ('Accounting-On', 'Accounting-Off') THEN 1 END,
               parsed.status, uid, session_id, username, realm, nas_ip, nas_port_id, nas_port_type,
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
               router_mac, parsed.nas_mac, parsed.nas_identifier, router_ip, client_ip, received_us, pairs
        FROM parsed
        -- No WHERE: the planner would expect nearly no row, and would choose a nested loop.
        JOIN matched ON matched.router_key = CASE WHEN fault IS NULL AND parsed.ignored IS NULL THEN parsed.router_key END
        LEFT JOIN public.subscribers AS subscriber USING (username)
        LEFT JOIN public.plans AS plan ON plan.id = subscriber.plan_id
    )
    SELECT max(seq), count(*), count(fault), count(parsed.ignored), max(received_at),
           count(*) FILTER (WHERE (seq > previous_seq) IS NOT TRUE), count(*) FILTER (WHERE NOT is_dated),
           (array_agg(received_us ORDER BY seq DESC) FILTER (WHERE NOT is_dated))[1],
           bool_or(new_client), (SELECT bool_or(bound) FROM matched),
           json_agg(json_build_object('seq', seq, 'received_at', received_at, 'received_us', received_us,
               'client_ip', client_ip, 'reason', fault,
               'pairs', coalesce(pairs, (jsonb_strip_nulls(to_jsonb(parsed)) - ARRAY['place', 'previous_seq', 'is_dated',
                   'is_stamped', 'fault', 'new_client', 'received_at', 'event_time'])::json))) FILTER (WHERE fault IS NOT NULL)
    INTO last_seq, records, rejected, ignored, last_received_at, v_disordered, v_undated, v_arrival_us, v_new_client,
        v_bound, v_rejected
    FROM parsed;

    IF v_disordered > 0 THEN
        RAISE EXCEPTION 'source "%": % records have numbers that are not above 0 or not above the one before',
            p_source, v_disordered USING ERRCODE = 'RM003';
    ELSIF last_seq - p_checkpoint > 1::bigint << 57 THEN
        RAISE EXCEPTION 'source "%": number % is too far above the last one, %: no journal goes on so far',
            p_source, last_seq, p_checkpoint USING ERRCODE = 'RM003';
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

    IF EXISTS (SELECT FROM pg_temp.incoming WHERE router_id IS NULL) THEN
        PERFORM radmeter.discover_routers();
        v_bound := true;  -- a record that was taken in order may have found a bound router
    END IF;
    IF v_bound THEN
        PERFORM radmeter.refuse_unbelieved();
        WITH refused AS (
            DELETE FROM pg_temp.incoming WHERE refused IS NOT NULL
            RETURNING seq, received_at, received_us, client_ip, refused AS reason, pairs
        )
        SELECT rejected + count(*), json_agg(refused) INTO rejected, v_refused FROM refused;
    END IF;
    IF rejected > 0 THEN
        -- In one call: it judges the packets of a client in their order.
        PERFORM radmeter.set_aside(p_source, array_to_json(ARRAY(
            SELECT json_array_elements(v_rejected) UNION ALL SELECT json_array_elements(v_refused))));
    END IF;
    IF v_new_client THEN
        PERFORM radmeter.note_networks();
    END IF;
END;
$$;
