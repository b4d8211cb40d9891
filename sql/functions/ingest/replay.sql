-- radmeter.replay(source, records, name, stanzas, size, digest): ingests packets of a detail file, and notes in the same
-- transaction how far the file is replayed. A replay that is killed at any point can go on where the counters are.
--   source         'detail:' and a digest; SQLSTATE RM002 if not
--   records        as radmeter.ingest takes them; seq is the stanza's number in the file. Empty if the stanzas are not
--                  packets
--   name           the file's name, for display
--   stanzas, size  how many stanzas and bytes of the file are done after this call
--   digest         BLAKE2b-128 of those bytes, by which the file is recognised
-- Writes radmeter.replayed_file, and what radmeter.ingest writes.
CREATE OR REPLACE FUNCTION radmeter.replay(
    p_source text, p_records json, p_name text, p_stanzas bigint, p_size bigint, p_digest bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT starts_with(p_source, 'detail:') THEN
        RAISE EXCEPTION 'source "%" is no detail file: its name does not begin with detail:', p_source
            USING ERRCODE = 'RM002';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    IF json_array_length(p_records) > 0 THEN
        PERFORM radmeter.ingest_batch(p_source, p_records);
    END IF;
    INSERT INTO radmeter.replayed_file AS file (source, name, stanzas, size, digest)
    VALUES (p_source, p_name, p_stanzas, p_size, p_digest)
    ON CONFLICT (source) DO UPDATE SET
        name = excluded.name, stanzas = excluded.stanzas, size = excluded.size, digest = excluded.digest,
        updated_at = excluded.updated_at
    WHERE file.stanzas < excluded.stanzas;
END;
$$;
