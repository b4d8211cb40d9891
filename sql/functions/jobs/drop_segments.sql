-- radmeter.drop_segments(rows): removes the rows of up to `rows` segments of radmeter.old_segments. Their numbers of
-- packets go to the row of their node in ingest_checkpoint, so that radmeter.nodes stays the same. That row also gets the
-- time of the latest one (radmeter.removed_segments). A copy of a segment whose row is removed would be counted again.
-- Returns how many were removed. Called by the jobs. Writes radmeter.journal_segment, ingest_checkpoint.
CREATE OR REPLACE FUNCTION radmeter.drop_segments(p_rows integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_removed integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    WITH removed AS (
        DELETE FROM radmeter.journal_segment WHERE id = ANY (ARRAY(SELECT id FROM radmeter.old_segments() LIMIT p_rows))
        RETURNING *
    ), folded AS (
        INSERT INTO public.ingest_checkpoint AS checkpoint
            (source, last_seq, records, rejected, ignored, last_received_at, updated_at, role, segments_removed_to)
        -- Only of the old format the numbers of a node, at or below one, were counted in order.
        SELECT node, coalesce(max(last_seq) FILTER (WHERE format = 1), 0), sum(records), sum(rejected), sum(ignored),
               max(last_received_at), max(updated_at), max(role), max(greatest(finished_at, seen_at))
        FROM removed GROUP BY node
        ON CONFLICT (source) DO UPDATE SET
            last_seq = greatest(checkpoint.last_seq, excluded.last_seq),
            records = checkpoint.records + excluded.records,
            rejected = checkpoint.rejected + excluded.rejected,
            ignored = checkpoint.ignored + excluded.ignored,
            last_received_at = greatest(checkpoint.last_received_at, excluded.last_received_at),
            -- Without packets it says when the journal got its role.
            updated_at = CASE WHEN checkpoint.records = 0 THEN excluded.updated_at
                              ELSE greatest(checkpoint.updated_at, excluded.updated_at) END,
            segments_removed_to = greatest(checkpoint.segments_removed_to, excluded.segments_removed_to)
    )
    SELECT count(*) INTO v_removed FROM removed;
    RETURN v_removed;
END;
$$;
