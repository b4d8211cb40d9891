-- radmeter.node_checkpoint(node): the last sequence number of a node's journal that is ingested; 0 for a new node.
-- Reads ingest_checkpoint.
CREATE OR REPLACE FUNCTION radmeter.node_checkpoint(p_node text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT last_seq FROM public.ingest_checkpoint WHERE source = p_node), 0);
$$;
