-- radmeter.chain_inserted(): the trigger that chains new lines of audit_log.
-- It is deferred, so it takes the lock on the head at the commit, after all others: no deadlock with the locks of packets
-- and routers, and a long transaction keeps nobody waiting. The first row of a transaction chains all its lines: they
-- have higher numbers, and lines of others that can be seen are chained already.
-- Without statistics PostgreSQL takes the new lines for a third of the table. So sequential scans are off, and the chain is
-- looked at line by line.
-- Writes radmeter.audit_chain, radmeter.audit_head.
CREATE OR REPLACE FUNCTION radmeter.chain_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    IF EXISTS (SELECT FROM radmeter.audit_chain WHERE audit_id = NEW.id) THEN
        RETURN NULL;
    END IF;
    -- The look comes after the lock, in a statement of its own: its snapshot has what others have committed until then.
    PERFORM radmeter.lock_chain();
    PERFORM radmeter.chain_lines(ARRAY(
        SELECT id FROM public.audit_log AS line
        WHERE id >= NEW.id
          AND (SELECT position FROM radmeter.audit_chain WHERE audit_id = line.id LIMIT 1) IS NULL), false);
    RETURN NULL;
END;
$$;
