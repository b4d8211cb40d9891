-- radmeter.rename_router(id, name): gives a router another name.
-- Packets can find a router by its name (radmeter.match_router). So the old name becomes its NAS-Identifier if it has
-- none. The new name may be that of a router that was merged into it. That router then gets the old name.
-- Returns the new NAS-Identifier if the old name became it, else NULL. Writes routers, audit_log.
-- SQLSTATE RM001, with the reason: there is no such router, it is only discovered, or another router has the name.
CREATE OR REPLACE FUNCTION radmeter.rename_router(p_id bigint, p_name text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_router public.routers%ROWTYPE;
    v_other public.routers%ROWTYPE;
    v_identifier text;
BEGIN
    SELECT * INTO v_router FROM public.routers WHERE id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no router #%', p_id USING ERRCODE = 'RM001';
    ELSIF v_router.status = 'discovered' THEN
        RAISE EXCEPTION 'router #% "%" is only discovered: claim it with "radmeter routers claim ''#%'' --name .."',
            p_id, v_router.name, p_id USING ERRCODE = 'RM001';
    ELSIF v_router.name = p_name THEN
        RETURN NULL;
    END IF;
    SELECT * INTO v_other FROM public.routers
    WHERE name = p_name AND status <> 'discovered' FOR NO KEY UPDATE;
    IF FOUND AND v_other.merged_into IS DISTINCT FROM p_id THEN
        RAISE EXCEPTION 'the name "%" is taken by the % router #%', p_name, v_other.status, v_other.id
            USING ERRCODE = 'RM001';
    END IF;
    -- The unique index checks each row at once, so two routers that swap names need a third name in between.
    UPDATE public.routers SET name = format('#%s', id) WHERE id = v_other.id;
    v_identifier := CASE WHEN v_router.nas_identifier IS NULL AND v_router.status = 'active' AND v_other.id IS NULL
                         THEN v_router.name END;
    UPDATE public.routers SET
        name = p_name, nas_identifier = coalesce(nas_identifier, v_identifier), updated_at = now()
    WHERE id = p_id;
    UPDATE public.routers SET name = v_router.name, updated_at = now() WHERE id = v_other.id;
    PERFORM radmeter.audit('routers rename', jsonb_build_object(
        'before', to_jsonb(v_router),
        'after', (SELECT to_jsonb(router) FROM public.routers AS router WHERE id = p_id),
        'renamed_in_turn', v_other.id));
    RETURN v_identifier;
END;
$$;
