-- radmeter.number_rounds(): decides the order in which the records of the batch are applied.
-- Accounting-On and -Off cut the batch into segments. In a segment each round has one record of each session, so that
-- each record is applied to the result of the one before. If a packet was sent again, with no other packet of its
-- session in between, only the first copy is kept, since the others would add nothing. It gets the arrival of the last
-- copy, by which the reaper judges the session, and keeps its own as first_received_at.
-- Most batches have only one record of each session. Then nothing is written. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.number_rounds() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (SELECT count(DISTINCT uid) = count(*) AND count(round) = count(*) FROM pg_temp.incoming) THEN
        RETURN;
    END IF;
    WITH cut AS (
        SELECT *, count(*) FILTER (WHERE round IS NULL) OVER (ORDER BY seq) AS segment_number FROM pg_temp.incoming
    ), compared AS (
        SELECT seq, segment_number, uid, received_at,
               (status, event_time, input_octets, output_octets, session_time, username) IS DISTINCT FROM
               lag((status, event_time, input_octets, output_octets, session_time, username))
                   OVER (PARTITION BY segment_number, uid ORDER BY seq) AS differs
        FROM cut WHERE round IS NOT NULL
    ), runs AS (
        SELECT seq, segment_number, uid, received_at, differs,
               count(*) FILTER (WHERE differs) OVER (PARTITION BY segment_number, uid ORDER BY seq) AS run
        FROM compared
    ), heard AS MATERIALIZED (
        SELECT seq, differs, max(received_at) OVER (PARTITION BY segment_number, uid, run) AS last_received_at FROM runs
    ), kept AS (
        UPDATE pg_temp.incoming AS record SET first_received_at = received_at, received_at = last_received_at
        FROM heard
        WHERE record.seq = heard.seq AND differs AND record.received_at < last_received_at
    )
    DELETE FROM pg_temp.incoming AS record USING heard WHERE record.seq = heard.seq AND NOT differs;

    WITH cut AS (
        SELECT seq, uid, round,
               count(*) FILTER (WHERE round IS NULL) OVER (ORDER BY seq) AS segment
        FROM pg_temp.incoming
    ), numbered AS MATERIALIZED (
        SELECT seq, segment,
               CASE WHEN round IS NOT NULL THEN row_number() OVER (PARTITION BY segment, uid ORDER BY seq) END AS round
        FROM cut
    )
    UPDATE pg_temp.incoming AS record SET segment = numbered.segment, round = numbered.round
    FROM numbered
    WHERE record.seq = numbered.seq
      AND (record.segment, record.round) IS DISTINCT FROM (numbered.segment::integer, numbered.round::integer);
END;
$$;
