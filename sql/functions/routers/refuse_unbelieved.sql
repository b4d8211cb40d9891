-- radmeter.refuse_unbelieved(): marks the records of the batch that touch a bound router (routers.clients) and whose
-- RADIUS client is not among its clients, with the reason. A record touches the router that it found; each router that
-- one of its keys finds alone, even if an earlier key found another; and the router of a session of its id, if the
-- session is open or may own the record. Else a client with a known MAC of its own could count into the sessions of
-- others, close them, or open a session whose id theirs would have.
-- An earlier record of the batch stands for the session that it opens or goes on with.
-- radmeter.unpack_records sets the marked records aside. They change nothing: no session is counted or closed. Such a
-- record has found its router, so it has discovered none.
-- SQLSTATE RM011 if one of them is without its packet's attributes ("pairs"). DETAIL is a JSON object: the numbers (seq)
-- for each reason. The caller sends the batch again, with these packets as ones to set aside, since only the caller has
-- their attributes. It then adds the attributes to all records for a while. Else PostgreSQL would write this error into
-- its log for each batch of a flood.
-- Called by radmeter.unpack_records only, and only if there is a bound router. Reads routers, radacct. Writes
-- pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.refuse_unbelieved() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- One index lookup for each record. The temporary table has no statistics, so the planner might choose otherwise.
SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
    v_records bigint;
    v_seqs_of_reasons jsonb;
    v_from timestamptz;
BEGIN
    -- No record can belong to a session that stopped before this (radmeter.update_closed).
    v_from := (SELECT greatest(min(least(belongs_from, event_time - interval '7 days')),
                               min(event_time) - interval '400 days')
               FROM pg_temp.incoming WHERE round IS NOT NULL);

    WITH bound AS MATERIALIZED (
        SELECT id, name, clients FROM public.routers WHERE clients IS NOT NULL
    ), place AS MATERIALIZED (  -- the rows of routers that mean a bound router: itself, and those merged into it
        SELECT router.*, router.id AS bound_id FROM bound JOIN public.routers AS router USING (id)
        UNION ALL
        SELECT router.*, bound.id FROM bound JOIN public.routers AS router ON router.merged_into = bound.id
    ), own_key AS MATERIALIZED (
        SELECT * FROM radmeter.bound_keys()
    ), record AS MATERIALIZED (
        SELECT * FROM pg_temp.incoming
    ), shown AS MATERIALIZED (
        SELECT seqs, client_ip, named.*
        FROM (SELECT array_agg(seq) AS seqs, client_ip, router_mac, nas_mac, nas_identifier, router_ip
              FROM record GROUP BY client_ip, router_mac, nas_mac, nas_identifier, router_ip) AS packet, LATERAL (VALUES
            ('mac:' || router_mac, NULL::text, NULL::inet), ('mac:' || packet.nas_mac, NULL, NULL),
            ('nas:' || packet.nas_identifier, packet.nas_identifier, NULL),
            ('ip:' || host(router_ip), NULL, router_ip)) AS named (key, nas_identifier, ip)
        WHERE named.key IS NOT NULL
    ), owner AS MATERIALIZED (
        SELECT record.*, session.router_id AS open_router_id,
               session.radacctid IS NOT NULL
                   AND coalesce(session.acctstarttime <= record.event_time, true) AS goes_to_open
        FROM record LEFT JOIN LATERAL radmeter.open_session(
            record.uid, record.session_id, record.calling_station_id, record.shown_mac, record.start_time) AS found ON true
        LEFT JOIN public.radacct AS session ON session.radacctid = found.radacctid AND session.acctstoptime IS NULL
        WHERE round IS NOT NULL
    ), touched AS (
        SELECT seq, client_ip, router_id AS bound_id, false AS by_session FROM record
        UNION ALL
        SELECT unnest(seqs), client_ip, bound_id, false
        FROM shown JOIN own_key USING (key) JOIN bound ON bound.id = bound_id
        WHERE CASE WHEN radmeter.may_name_router(client_ip, clients) THEN false
                   ELSE is_own OR radmeter.match_router(NULL, NULL, shown.nas_identifier, shown.ip) = bound_id END
        UNION ALL
        SELECT seq, client_ip, place.bound_id, true
        FROM owner JOIN place ON place.id = open_router_id
        UNION ALL
        SELECT owner.seq, client_ip, place.bound_id, true
        FROM owner CROSS JOIN LATERAL (
            SELECT closed.router_id
            FROM radmeter.sessions_of(
                owner.uid, owner.session_id, owner.calling_station_id, owner.shown_mac, v_from) AS closed
            WHERE closed.acctstoptime >= v_from
              AND (closed.acctstoptime >= owner.belongs_from
                   OR closed.closed_by = ANY (ARRAY['reaper', 'reboot']) AND owner.session_time IS NULL AND owner.status <> 'Start'
                      AND closed.acctstoptime >= owner.event_time - interval '7 days')
            OFFSET 0) AS session
        JOIN place ON place.id = session.router_id
        WHERE NOT goes_to_open
        UNION ALL
        SELECT record.seq, record.client_ip, bound.id, true
        FROM bound JOIN record AS earlier ON earlier.router_id = bound.id
        -- Of one session are records with one session id only.
        JOIN record ON record.session_id = earlier.session_id AND record.seq > earlier.seq
            AND CASE WHEN record.uid = earlier.uid
                     THEN NOT radmeter.contradicts(earlier.calling_station_id, earlier.shown_mac, NULL,
                                                   record.calling_station_id, record.shown_mac)
                     ELSE record.calling_station_id <> '' AND record.calling_station_id = earlier.calling_station_id
                          AND record.shown_mac = earlier.shown_mac END
        WHERE record.round IS NOT NULL AND earlier.round IS NOT NULL
          AND radmeter.may_name_router(earlier.client_ip, bound.clients)
          AND (earlier.status <> 'Stop' OR record.belongs_from <= earlier.event_time)
    ), refused AS (
        UPDATE pg_temp.incoming AS record SET refused = format(
            '%srouter #%s "%s" is bound to the RADIUS clients %s, and %s: '
            '"radmeter routers set ''#%s'' --clients .." changes that, then "radmeter rejected retry" counts the packet',
            CASE WHEN by_session THEN 'the session is at a bound router: ' END,
            judged.id, judged.name, array_to_string(judged.clients, ', '),
            CASE WHEN judged.client_ip IS NULL THEN 'the packet does not say from which client it came'
                 ELSE format('the packet came from %s', host(radmeter.plain_address(judged.client_ip))) END,
            judged.id)
        FROM (SELECT DISTINCT ON (seq) touched.*, bound.*
              FROM touched JOIN bound ON bound.id = bound_id
              WHERE NOT radmeter.may_name_router(client_ip, clients)
              ORDER BY seq, by_session, bound.id) AS judged
        WHERE record.seq = judged.seq
        RETURNING record.seq, record.refused, record.pairs
    ), grouped AS (
        SELECT refused, jsonb_agg(seq) AS seqs, count(*) AS records, count(pairs) AS with_pairs FROM refused GROUP BY refused
    )
    SELECT sum(records), jsonb_object_agg(refused, seqs) INTO v_records, v_seqs_of_reasons
    FROM grouped HAVING sum(with_pairs) < sum(records);
    IF v_records IS NOT NULL THEN
        RAISE EXCEPTION '% records are of RADIUS clients that may not name the router', v_records
            USING ERRCODE = 'RM011', DETAIL = v_seqs_of_reasons::text;
    END IF;
END;
$$;
