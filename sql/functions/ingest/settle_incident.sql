-- radmeter.settle_incident(id): notes that an incident has ended by itself.
-- SQLSTATE RM001: there is no such incident. RM002: its journal belongs to another role.
-- Writes radmeter.journal_incident.
CREATE OR REPLACE FUNCTION radmeter.settle_incident(p_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_node text;
BEGIN
    SELECT node INTO v_node FROM radmeter.journal_incident WHERE id = p_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no incident #%', p_id USING ERRCODE = 'RM001';
    END IF;
    PERFORM radmeter.check_journal(v_node);
    UPDATE radmeter.journal_incident SET settled_at = clock_timestamp() WHERE id = p_id AND settled_at IS NULL;
END;
$$;
