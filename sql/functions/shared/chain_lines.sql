-- radmeter.chain_lines(ids, rewrites): adds lines of audit_log to the end of the chain, in the order of their numbers.
-- The lock on the head's row makes the order of the chain that of the commits. It is held until the transaction ends.
-- Each line has a salt: without it, who knows the rest of a line could guess an erased name by the line's old hash.
-- Called by the triggers of audit_log and by chain_earlier_lines. Writes radmeter.audit_chain, radmeter.audit_head.
CREATE OR REPLACE FUNCTION radmeter.chain_lines(p_ids bigint[], p_rewrites boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_head radmeter.audit_head%ROWTYPE;
    v_last radmeter.audit_head%ROWTYPE;
    v_line public.audit_log%ROWTYPE;
    v_row radmeter.audit_chain%ROWTYPE;
BEGIN
    PERFORM radmeter.lock_chain();
    INSERT INTO radmeter.audit_head DEFAULT VALUES ON CONFLICT DO NOTHING;
    SELECT * INTO v_head FROM radmeter.audit_head;
    -- The last row decides. Somebody set the head back, removed it or changed its digest: all rows are there, and the work
    -- of others goes on. But rows that were removed from the end leave a gap.
    SELECT true, last.position, last.digest INTO v_last FROM radmeter.audit_chain AS last ORDER BY position DESC LIMIT 1;
    IF v_last.position >= v_head.position THEN
        v_head := v_last;
    END IF;
    FOR v_line IN SELECT * FROM public.audit_log WHERE id = ANY (p_ids) ORDER BY id LOOP
        v_head.position := v_head.position + 1;
        v_row := (v_head.position, v_line.id, p_rewrites, uuid_send(gen_random_uuid()), NULL, NULL, now());
        v_row.content := radmeter.audit_digest(v_row.salt, v_line.id, v_line.at, v_line.who, v_line.operator,
            v_line.action, v_line.detail);
        v_row.digest := radmeter.chain_digest(v_head.digest, v_row.position, v_row.audit_id, v_row.rewrites,
            v_row.content, v_row.chained_at);
        INSERT INTO radmeter.audit_chain VALUES (v_row.*);
        v_head.digest := v_row.digest;
    END LOOP;
    UPDATE radmeter.audit_head SET position = v_head.position, digest = v_head.digest;
END;
$$;
