-- radmeter.chain_rewritten(): the trigger that chains lines of audit_log again that the erasure of a person rewrote.
-- The salts of what the lines were are forgotten, so nothing tells whose name it was.
-- Writes radmeter.audit_chain, radmeter.audit_head.
CREATE OR REPLACE FUNCTION radmeter.chain_rewritten() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids bigint[] := ARRAY(SELECT id FROM changed_rows);
BEGIN
    IF v_ids <> '{}' THEN
        PERFORM radmeter.chain_lines(v_ids, true);
        UPDATE radmeter.audit_chain AS former SET salt = NULL
        WHERE audit_id = ANY (v_ids) AND salt IS NOT NULL
          AND EXISTS (SELECT FROM radmeter.audit_chain AS later
                      WHERE later.audit_id = former.audit_id AND later.position > former.position);
    END IF;
    RETURN NULL;
END;
$$;
