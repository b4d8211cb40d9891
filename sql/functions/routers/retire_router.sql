-- radmeter.retire_router(id, undo): takes a router out of use; with undo, takes it into use again.
-- It keeps its usage and its name. If it sends again, its packets still find it by its MAC and by its discovery key, so
-- that nothing is lost. They no longer find it by NAS-Identifier, name or address, since a successor may have them.
-- Returns whether anything changed. Writes routers, audit_log.
-- SQLSTATE RM001, with the reason: there is no such router, or it was merged into another.
CREATE OR REPLACE FUNCTION radmeter.retire_router(p_id bigint, p_undo boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_router public.routers%ROWTYPE;
BEGIN
    SELECT * INTO v_router FROM public.routers WHERE id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no router #%', p_id USING ERRCODE = 'RM001';
    ELSIF v_router.merged_into IS NOT NULL THEN
        RAISE EXCEPTION 'router #% "%" was merged into #%', p_id, v_router.name, v_router.merged_into
            USING ERRCODE = 'RM001';
    ELSIF p_undo = (v_router.status <> 'retired') THEN
        RETURN false;
    END IF;
    UPDATE public.routers SET
        status = CASE WHEN p_undo THEN 'active' ELSE 'retired' END,
        -- A discovered router may share its name with others; a retired one may not.
        name = CASE WHEN v_router.status = 'discovered'
                         AND EXISTS (SELECT FROM public.routers AS other
                                     WHERE other.name = v_router.name AND other.status <> 'discovered')
                    THEN format('%s (#%s)', name, id) ELSE name END,
        updated_at = now()
    WHERE id = p_id;
    PERFORM radmeter.audit('routers retire', jsonb_build_object(
        'before', to_jsonb(v_router),
        'after', (SELECT to_jsonb(router) FROM public.routers AS router WHERE id = p_id)));
    RETURN true;
END;
$$;
