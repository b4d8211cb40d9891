-- radmeter.check_journal(source): refuses a source that is no journal, and a journal of another role
-- (radmeter.check_source_role). A name has at most 1024 bytes, as plugin/journal/files.py reads it: each row of a segment
-- and of an incident has it.
-- SQLSTATE RM002. Called by the functions that the shipper calls. Reads ingest_checkpoint.
CREATE OR REPLACE FUNCTION radmeter.check_journal(p_source text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_source = 'retry' OR starts_with(p_source, 'detail:') THEN
        RAISE EXCEPTION 'source "%" is no journal: detail files come in by radmeter.replay, rejected packets by %',
            p_source, 'radmeter.retry_rejected' USING ERRCODE = 'RM002';
    ELSIF octet_length(p_source) > 1024 THEN
        RAISE EXCEPTION 'source "%.." is no journal: its name has % bytes, more than 1024',
            left(p_source, 100), octet_length(p_source) USING ERRCODE = 'RM002';
    END IF;
    PERFORM radmeter.check_source_role(p_source);
END;
$$;
