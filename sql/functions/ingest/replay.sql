-- radmeter.replay(source, records, name, stanzas, size, digest): ingests packets of a detail file, and notes in the same
-- transaction how far the file is replayed. A replay that is killed at any point can go on where the counters are.
--   source         'detail:' and a digest; SQLSTATE RM002 if not, or if another role has replayed it
--   records        as radmeter.ingest takes them; seq is the stanza's number in the file, at most `stanzas`
--                  (SQLSTATE RM003). Empty if the stanzas are not packets
--   name           the file's name, for display
--   stanzas, size  how many stanzas and bytes of the file are done after this call
--   digest         BLAKE2b-128 of those bytes, by which the file is recognised
-- Writes radmeter.replayed_file, and what radmeter.ingest writes.
CREATE OR REPLACE FUNCTION radmeter.replay(
    p_source text, p_records json, p_name text, p_stanzas bigint, p_size bigint, p_digest bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_last bigint;
BEGIN
    IF p_source !~ '^detail:[0-9a-f]{16}(:[0-9]{1,9})?$' OR p_source IS NULL THEN
        RAISE EXCEPTION 'source "%" is no detail file: its name is not detail: and a digest', p_source
            USING ERRCODE = 'RM002';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.ingest', 0));
    -- Also for a part without packets: what is noted here makes others skip it.
    INSERT INTO public.ingest_checkpoint (source, last_seq, role) VALUES (p_source, 0, session_user)
    ON CONFLICT (source) DO NOTHING;
    PERFORM radmeter.check_source_role(p_source);
    -- Packets up to the checkpoint are taken as counted. So it never goes beyond the part that is replayed.
    SELECT max(seq) INTO v_last FROM json_to_recordset(p_records) AS record (seq bigint);
    IF v_last > p_stanzas THEN
        RAISE EXCEPTION 'detail file "%": packet % is not one of the first % stanzas', p_source, v_last, p_stanzas
            USING ERRCODE = 'RM003';
    END IF;
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
