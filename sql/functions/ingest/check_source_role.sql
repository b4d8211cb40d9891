-- radmeter.check_source_role(source): refuses a journal or detail file of another role.
-- A source belongs to the role that ingested its first batch, and to the members of that role. Another role could move
-- its checkpoint forward. Packets below the checkpoint are taken as counted, so they would be lost. If the role
-- was dropped or renamed, the next role that ingests takes the source over.
-- SQLSTATE RM002. Called by radmeter.check_journal, radmeter.note_incident, radmeter.registered_segment, radmeter.replay
-- and radmeter.salvage_rejected only. Reads ingest_checkpoint.
CREATE OR REPLACE FUNCTION radmeter.check_source_role(p_source text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_owner record;
BEGIN
    SELECT rolname, rolsuper INTO v_owner
    FROM public.ingest_checkpoint AS checkpoint JOIN pg_roles AS role ON role.rolname = checkpoint.role
    WHERE checkpoint.source = p_source AND NOT pg_has_role(session_user, role.oid, 'MEMBER');
    IF FOUND THEN
        RAISE EXCEPTION '% "%" belongs to role "%", and role "%" is not a member of it. If it shall %: %',
            CASE WHEN starts_with(p_source, 'detail:') THEN 'detail file' ELSE 'journal' END,
            p_source, v_owner.rolname, session_user,
            CASE WHEN starts_with(p_source, 'detail:') THEN 'replay this file' ELSE 'ship this journal' END,
            CASE WHEN v_owner.rolsuper  -- nobody should get a superuser's rights for this
                 THEN format('UPDATE public.ingest_checkpoint SET role = %L WHERE source = %L', session_user, p_source)
                 ELSE format('GRANT %I TO %I', v_owner.rolname, session_user) END
            USING ERRCODE = 'RM002';
    END IF;
END;
$$;
