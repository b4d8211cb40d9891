-- radmeter.find_plain(): the staged records that may be plain: interims that only add to a known session. Whether they are
-- is for radmeter.update_plain to say, which sees the session.
-- Such a record has a believed Event-Timestamp, its session time, both octets, a User-Name and a Calling-Station-Id.
-- No other record of the batch touches its session: none has its Acct-Session-Id or its acctuniqueid (see
-- radmeter.label_components), nor is there an Accounting-On or -Off of its router. Its router is known, by the MAC in
-- Called-Station-Id if the batch has a router that is not: what that one is discovered as cannot change this match.
-- It cannot be refused (radmeter.refuse_unbelieved): its RADIUS client may name its router, and each bound router of
-- which it shows a key. The shipper has not marked its client as new: radmeter.note_networks sees that record.
-- The caller has made sure that all arrivals of the batch are believed.
-- Returns, in arrays of equal length: where the records are (ctid in pg_temp.staged), their routers, days and user names,
-- with the realm of the router's tenant if they get it (radmeter.qualified_names).
-- Called by radmeter.unpack_records only. Reads pg_temp.staged, routers, radmeter.tenant_realm.
CREATE OR REPLACE FUNCTION radmeter.find_plain(
    OUT places tid[], OUT router_ids bigint[], OUT usage_dates date[], OUT usernames text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- The planner knows nothing about the temporary table, and would compare each record with each session id and router.
SET enable_nestloop = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_timezone text := radmeter.setting_value('timezone');
    v_bound boolean := EXISTS (SELECT FROM public.routers WHERE clients IS NOT NULL);
    v_starts timestamptz[];  -- what the records show
BEGIN
    WITH matched AS MATERIALIZED (
        SELECT * FROM radmeter.matched_routers(NULL)
    ), rebooted AS MATERIALIZED (
        SELECT matched.router_id FROM pg_temp.staged JOIN matched USING (router_key)
        WHERE status IN ('Accounting-On', 'Accounting-Off') AND matched.router_id IS NOT NULL
    ), single AS MATERIALIZED (
        SELECT min(ctid) AS place FROM pg_temp.staged GROUP BY session_id HAVING count(*) = 1
    ), same_uid AS MATERIALIZED (
        -- The id is made of the user's name, the session's and more with commas between, so two may have one by intent.
        SELECT uid FROM pg_temp.staged WHERE uid IS NOT NULL GROUP BY uid HAVING count(*) > 1
    ), sender AS MATERIALIZED (
        SELECT DISTINCT staged.router_key, client_ip, router_mac, nas_mac, nas_identifier, router_ip, matched.router_id
        FROM pg_temp.staged JOIN matched USING (router_key)
        WHERE v_bound
    ), refusable AS MATERIALIZED (
        SELECT router_key, coalesce(client_ip, '0.0.0.0') AS client
        FROM (SELECT sender.*, router_id AS bound_id FROM sender
              UNION ALL
              SELECT sender.*, bound_id
              FROM sender
              CROSS JOIN LATERAL (VALUES ('mac:' || router_mac), ('mac:' || nas_mac), ('nas:' || nas_identifier),
                                         ('ip:' || host(router_ip))) AS shown (key)
              JOIN (SELECT * FROM radmeter.bound_keys() WHERE v_bound) AS own_key USING (key)) AS named
        JOIN public.routers AS bound ON bound.id = bound_id
        WHERE NOT radmeter.may_name_router(client_ip, clients)
    )
    SELECT array_agg(record.place), array_agg(router_id), array_agg(usage_date), array_agg(username),
           array_agg(event_time - session_time * interval '1 second')
    INTO places, router_ids, usage_dates, usernames, v_starts
    FROM (
        SELECT single.place, matched.router_id, username, session_time, event_time,
               (event_time AT TIME ZONE coalesce(matched.timezone, v_timezone))::date AS usage_date
        FROM pg_temp.staged
        JOIN single ON single.place = staged.ctid
        JOIN matched USING (router_key)
        CROSS JOIN LATERAL (SELECT timestamptz 'epoch' + event_us * interval '1 microsecond' AS event_time) AS event
        WHERE status = 'Interim-Update' AND stamped AND reason IS NULL AND ignored IS NULL AND new_client IS NOT TRUE
          AND session_time IS NOT NULL AND input_octets IS NOT NULL AND output_octets IS NOT NULL
          AND username <> '' AND calling_station_id <> ''
          AND radmeter.record_fault(status, uid, session_id, nas_ip, staged.router_key, received_us, event_us, stamped,
                  session_time, input_octets, output_octets, gigawords, interim_interval) IS NULL
          AND matched.router_id IS NOT NULL
          AND (by_mac OR NOT EXISTS (SELECT FROM matched WHERE router_id IS NULL))
          AND matched.router_id NOT IN (SELECT router_id FROM rebooted)
          AND uid NOT IN (SELECT uid FROM same_uid)
          AND (staged.router_key, coalesce(client_ip, '0.0.0.0')) NOT IN (SELECT router_key, client FROM refusable)
    ) AS record;
    IF EXISTS (SELECT FROM radmeter.tenant_realm) THEN
        usernames := ARRAY(
            SELECT coalesce(named.name, sent.username)
            FROM unnest(usernames) WITH ORDINALITY AS sent (username, number)
            LEFT JOIN radmeter.qualified_names(usernames, router_ids, v_starts) AS named USING (number)
            ORDER BY number);
    END IF;
END;
$$;
