-- radmeter.chain_earlier_lines(): chains the lines of audit_log that are older than the chain. The upgrade calls it once,
-- after it has made the triggers: with their lock nobody is writing a line.
-- Returns how many. Writes radmeter.audit_chain, radmeter.audit_head.
CREATE OR REPLACE FUNCTION radmeter.chain_earlier_lines() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids bigint[];
BEGIN
    -- A chain that was emptied later must not be made anew: triggers have run since, and noted how far it was.
    IF EXISTS (SELECT FROM radmeter.audit_head WHERE position > 0) OR EXISTS (SELECT FROM radmeter.audit_chain) THEN
        RETURN 0;
    END IF;
    v_ids := ARRAY(SELECT id FROM public.audit_log);
    IF v_ids <> '{}' THEN
        PERFORM radmeter.chain_lines(v_ids, false);
    END IF;
    RETURN cardinality(v_ids);
END;
$$;
