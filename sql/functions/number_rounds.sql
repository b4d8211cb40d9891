-- radmeter.number_rounds(): the order in which the records of the batch are applied.
-- Accounting-On and -Off cut the batch into segments. In a segment the records of one session are applied one a round, so
-- that each sees what the one before it left; the same packet sent again is left out, since it would add nothing.
-- Most batches have one record a session and need neither: then nothing is written. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.number_rounds() RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF (SELECT count(DISTINCT uid) = count(*) AND count(round) = count(*) FROM pg_temp.incoming) THEN
        RETURN;
    END IF;
    -- The first copy stands for all, with the arrival of the last: the reaper goes by it.
    WITH copies AS MATERIALIZED (
        SELECT seq, row_number() OVER same AS copy, max(received_at) OVER same AS received_at
        FROM pg_temp.incoming WHERE round IS NOT NULL
        WINDOW same AS (PARTITION BY uid, status, event_time, input_octets, output_octets, session_time ORDER BY seq
                        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ), heard AS (
        UPDATE pg_temp.incoming AS record SET received_at = copies.received_at
        FROM copies
        WHERE record.seq = copies.seq AND copies.copy = 1 AND record.received_at < copies.received_at
    )
    DELETE FROM pg_temp.incoming AS record
    USING copies WHERE record.seq = copies.seq AND copies.copy > 1;
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
