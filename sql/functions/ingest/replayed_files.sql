-- radmeter.replayed_files(node): how far the detail files that begin with one stanza are replayed, the longest last.
--   node  'detail:' and the digest of that stanza
-- Two files can have the same first stanza and then differ, if one packet was sent to two servers. The second file then
-- has node || ':2'.
-- Reads radmeter.replayed_file.
CREATE OR REPLACE FUNCTION radmeter.replayed_files(p_node text)
RETURNS TABLE (node text, stanzas bigint, size bigint, digest bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT node, stanzas, size, digest FROM radmeter.replayed_file
    WHERE node = p_node OR starts_with(node, p_node || ':')
    ORDER BY size, node;
$$;
