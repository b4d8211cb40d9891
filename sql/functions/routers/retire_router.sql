-- radmeter.retire_router(id, undo): a router that is out of use, or is in use again after all.
-- It keeps its usage and its name. Should it send again, its MAC (and what it was discovered by) finds it still, so that
-- nothing is lost; its NAS-Identifier, name and address find it no more, since a successor may have them.
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
        -- Discovered routers may have a name that others have; retired ones may not.
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
