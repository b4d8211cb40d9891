-- radmeter.replay(node, records, name, stanzas, size, digest): ingests packets of a detail file, and notes in the same
-- transaction how far the file is replayed. A replay that is killed at any point can go on where the counters are.
--   node, records  as radmeter.ingest takes them; seq is the stanza's number in the file. records is empty if the
--                  stanzas are not packets
--   name           the file's name, for display
--   stanzas, size  how many stanzas and bytes of the file are done after this call
--   digest         BLAKE2b-128 of those bytes, by which the file is recognised
-- Writes radmeter.replayed_file, and what radmeter.ingest writes.
CREATE OR REPLACE FUNCTION radmeter.replay(
    p_node text, p_records json, p_name text, p_stanzas bigint, p_size bigint, p_digest bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF json_array_length(p_records) > 0 THEN
        PERFORM radmeter.ingest(p_node, p_records);
    END IF;
    INSERT INTO radmeter.replayed_file AS file (node, name, stanzas, size, digest)
    VALUES (p_node, p_name, p_stanzas, p_size, p_digest)
    ON CONFLICT (node) DO UPDATE SET
        name = excluded.name, stanzas = excluded.stanzas, size = excluded.size, digest = excluded.digest,
        updated_at = excluded.updated_at
    WHERE file.stanzas < excluded.stanzas;
END;
$$;
