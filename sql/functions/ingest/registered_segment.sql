-- radmeter.registered_segment(segment): the row of a segment that the caller may ship.
-- SQLSTATE RM002: its journal belongs to another role (radmeter.check_source_role). RM004: there is no such row. The
-- database may have been restored, so the shipper registers its segments again.
-- Called by radmeter.ingest and radmeter.finish_segment only, under the lock of radmeter.ingest.
CREATE OR REPLACE FUNCTION radmeter.registered_segment(p_segment uuid) RETURNS radmeter.journal_segment
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_segment radmeter.journal_segment;
BEGIN
    SELECT * INTO v_segment FROM radmeter.journal_segment WHERE id = p_segment;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'segment % is not registered', p_segment USING ERRCODE = 'RM004';
    END IF;
    PERFORM radmeter.check_source_role(v_segment.node);
    RETURN v_segment;
END;
$$;
