-- radmeter.claim_journal(node): lets the role that logged in ship the segments of a journal, if no other role has it.
-- A journal belongs to the role that first registered a segment of it, and to the members of that role. If the role was
-- dropped or renamed, it is nobody's any more.
-- SQLSTATE RM002: the journal belongs to another role, or the name is no journal's.
-- Called by radmeter.open_segments only. Writes ingest_checkpoint.
CREATE OR REPLACE FUNCTION radmeter.claim_journal(p_node text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM radmeter.check_journal(p_node);
    IF NOT EXISTS (SELECT FROM public.ingest_checkpoint AS checkpoint
                   WHERE source = p_node AND role IN (SELECT rolname FROM pg_roles)) THEN
        INSERT INTO public.ingest_checkpoint (source, last_seq, role) VALUES (p_node, 0, session_user)
        ON CONFLICT (source) DO UPDATE SET role = excluded.role;
    END IF;
END;
$$;
