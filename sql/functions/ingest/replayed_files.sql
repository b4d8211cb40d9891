-- radmeter.replayed_files(source): how far the detail files that begin with one stanza are replayed, the longest last.
--   source  'detail:' and the digest of that stanza
-- Two files can have the same first stanza and then differ, if one packet was sent to two servers. The second file then
-- has source || ':2'.
-- Reads radmeter.replayed_file.
CREATE OR REPLACE FUNCTION radmeter.replayed_files(p_source text)
RETURNS TABLE (source text, stanzas bigint, size bigint, digest bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT source, stanzas, size, digest FROM radmeter.replayed_file
    -- Only a whole digest: a shorter text would list the files of others.
    WHERE p_source ~ '^detail:[0-9a-f]{16}$' AND (source = p_source OR starts_with(source, p_source || ':'))
    ORDER BY size, source;
$$;
