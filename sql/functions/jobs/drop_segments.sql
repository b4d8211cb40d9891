-- radmeter.drop_segments(rows): removes up to `rows` rows of segments that were all counted longer ago than the limit
-- segment_rows_days, the oldest first. Their numbers of packets go to the row of their node in ingest_checkpoint, so
-- that radmeter.nodes stays the same.
-- The latest segment of a node stays, and so does one that a segment names which is not all counted. A copy of a segment
-- whose row is removed would be counted again.
-- Returns how many were removed. Called by the jobs. Writes radmeter.journal_segment, ingest_checkpoint.
CREATE OR REPLACE FUNCTION radmeter.drop_segments(p_rows integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_removed integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    WITH latest AS MATERIALIZED (
        SELECT node, max(last_seq) AS last_seq FROM radmeter.journal_segment GROUP BY node
    ), removed AS (
        DELETE FROM radmeter.journal_segment WHERE id = ANY (ARRAY(
            SELECT id FROM radmeter.journal_segment AS segment JOIN latest USING (node)
            WHERE finished_at < now() - radmeter.limit_value('segment_rows_days') * interval '1 day'
              AND segment.last_seq < latest.last_seq
              AND NOT EXISTS (SELECT FROM radmeter.journal_segment AS following
                              WHERE following.previous = segment.id AND following.finished_at IS NULL)
            ORDER BY finished_at LIMIT p_rows))
        RETURNING *
    ), folded AS (
        INSERT INTO public.ingest_checkpoint AS checkpoint
            (source, last_seq, records, rejected, ignored, last_received_at, updated_at, role)
        -- Only of the old format the numbers of a node, at or below one, were counted in order.
        SELECT node, coalesce(max(last_seq) FILTER (WHERE format = 1), 0), sum(records), sum(rejected), sum(ignored),
               max(last_received_at), max(updated_at), max(role)
        FROM removed GROUP BY node
        ON CONFLICT (source) DO UPDATE SET
            last_seq = greatest(checkpoint.last_seq, excluded.last_seq),
            records = checkpoint.records + excluded.records,
            rejected = checkpoint.rejected + excluded.rejected,
            ignored = checkpoint.ignored + excluded.ignored,
            last_received_at = greatest(checkpoint.last_received_at, excluded.last_received_at),
            updated_at = greatest(checkpoint.updated_at, excluded.updated_at)
    )
    SELECT count(*) INTO v_removed FROM removed;
    RETURN v_removed;
END;
$$;
