-- radmeter.replayed_files(source): what was replayed of the detail files that begin with a stanza, the longest last.
--   source  detail: and the digest of that stanza
-- Two files can begin alike and go on differently (one packet sent to two servers): the second has source || ':2'.
-- Reads radmeter.replayed_file.
CREATE OR REPLACE FUNCTION radmeter.replayed_files(p_source text)
RETURNS TABLE (source text, stanzas bigint, size bigint, digest bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT source, stanzas, size, digest FROM radmeter.replayed_file
    WHERE source = p_source OR starts_with(source, p_source || ':')
    ORDER BY size, source;
$$;
