-- radmeter.number_rounds(): decides the order in which the records of the batch are applied.
-- Accounting-On and -Off cut the records of their routers into segments (radmeter.cut_segments). In a segment each round
-- has one record of each session, so that each record is applied to the result of the one before. Records that may be of
-- one session have the same component.
-- If a packet was sent again, with no other packet of its component in between, only the first copy is kept, since the
-- others would add nothing. It gets the arrival of the last copy, by which the reaper judges the session, and keeps
-- its own as first_received_at. A Stop without Calling-Station-Id is kept each time: there may be two open sessions of its
-- id, of two devices, and each Stop ends one.
-- Most batches have only one record of each session. Then nothing is written. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.number_rounds() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_temp.incoming WHERE round IS NULL) THEN
        PERFORM radmeter.cut_segments();
    END IF;
    IF (SELECT count(DISTINCT component) = count(*) FROM pg_temp.incoming WHERE round IS NOT NULL) THEN
        RETURN;
    END IF;
    WITH packet AS (
        SELECT seq, component, received_at,
               (segment, uid, calling_station_id, shown_mac,
                status, event_time, input_octets, output_octets, session_time, username) AS said,
               status = 'Stop' AND coalesce(calling_station_id, '') = '' AS ends_any
        FROM pg_temp.incoming WHERE round IS NOT NULL
    ), compared AS (
        SELECT seq, component, received_at,
               said IS DISTINCT FROM lag(said) OVER (PARTITION BY component ORDER BY seq) OR ends_any AS differs
        FROM packet
    ), runs AS (
        SELECT seq, component, received_at, differs,
               count(*) FILTER (WHERE differs) OVER (PARTITION BY component ORDER BY seq) AS run
        FROM compared
    ), heard AS MATERIALIZED (
        SELECT seq, differs, max(received_at) OVER (PARTITION BY component, run) AS last_received_at FROM runs
    ), kept AS (
        UPDATE pg_temp.incoming AS record SET first_received_at = received_at, received_at = last_received_at
        FROM heard
        WHERE record.seq = heard.seq AND differs AND record.received_at < last_received_at
    )
    DELETE FROM pg_temp.incoming AS record USING heard WHERE record.seq = heard.seq AND NOT differs;

    WITH numbered AS MATERIALIZED (
        SELECT seq, row_number() OVER (PARTITION BY component, segment ORDER BY seq) AS round
        FROM pg_temp.incoming WHERE round IS NOT NULL
    )
    UPDATE pg_temp.incoming AS record SET round = numbered.round
    FROM numbered
    WHERE record.seq = numbered.seq AND record.round IS DISTINCT FROM numbered.round::integer;
END;
$$;
