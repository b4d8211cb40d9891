-- radmeter.node_checkpoint(node), radmeter.ingest(source, records): what the shipper of an older release calls. It numbered
-- the packets of a journal, and did not know its segments. Both only refuse: nothing is stored. SQLSTATE RM005.
CREATE OR REPLACE FUNCTION radmeter.node_checkpoint(p_node text) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'this shipper is of an older release than the database: stop it, install the release of the database, %',
        'and start it again. The journal keeps its packets' USING ERRCODE = 'RM005';
END;
$$;

CREATE OR REPLACE FUNCTION radmeter.ingest(p_source text, p_records json) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN radmeter.node_checkpoint(p_source);
END;
$$;
