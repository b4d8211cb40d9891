-- radmeter.find_plain(): the staged records that may be plain: interims that only add to a known session. Whether they are
-- is for radmeter.update_plain to say, which sees the session.
-- Such a record has a believed Event-Timestamp, its session time, both octets, a User-Name and a Calling-Station-Id.
-- No other record of the batch touches its session: records of one session have one Acct-Session-Id (see
-- radmeter.label_components), and no other has it, nor is there an Accounting-On or -Off of its router. Its router is
-- known, by the MAC in Called-Station-Id if the batch has a router that is not: what that one is discovered as cannot
-- change this match.
-- The caller has made sure that all arrivals of the batch are believed.
-- Returns, in arrays of equal length: where the records are (ctid in pg_temp.staged), their routers and days.
-- Called by radmeter.unpack_records only. Reads pg_temp.staged, routers.
CREATE OR REPLACE FUNCTION radmeter.find_plain(
    OUT places tid[], OUT router_ids bigint[], OUT usage_dates date[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- The planner knows nothing about the temporary table, and would compare each record with each session id and router.
SET enable_nestloop = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_timezone text := radmeter.setting_value('timezone');
BEGIN
    WITH matched AS MATERIALIZED (
        SELECT * FROM radmeter.matched_routers(NULL)
    ), rebooted AS MATERIALIZED (
        SELECT matched.router_id FROM pg_temp.staged JOIN matched USING (router_key)
        WHERE status IN ('Accounting-On', 'Accounting-Off') AND matched.router_id IS NOT NULL
    ), single AS MATERIALIZED (
        SELECT min(ctid) AS place FROM pg_temp.staged GROUP BY session_id HAVING count(*) = 1
    )
    SELECT array_agg(record.place), array_agg(router_id), array_agg(usage_date)
    INTO places, router_ids, usage_dates
    FROM (
        SELECT single.place, matched.router_id,
               ((timestamptz 'epoch' + event_us * interval '1 microsecond')
                   AT TIME ZONE coalesce(matched.timezone, v_timezone))::date AS usage_date
        FROM pg_temp.staged
        JOIN single ON single.place = staged.ctid
        JOIN matched USING (router_key)
        WHERE status = 'Interim-Update' AND stamped AND reason IS NULL AND ignored IS NULL
          AND session_time IS NOT NULL AND input_octets IS NOT NULL AND output_octets IS NOT NULL
          AND username <> '' AND calling_station_id <> ''
          AND radmeter.record_fault(status, uid, session_id, nas_ip, staged.router_key, received_us, event_us, stamped,
                  session_time, input_octets, output_octets, gigawords, interim_interval) IS NULL
          AND matched.router_id IS NOT NULL
          AND (by_mac OR NOT EXISTS (SELECT FROM matched WHERE router_id IS NULL))
          AND matched.router_id NOT IN (SELECT router_id FROM rebooted)
    ) AS record;
END;
$$;
