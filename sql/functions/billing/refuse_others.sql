-- radmeter.refuse_others(document): refuses to restore a document whose issuer, tenant, router, plan or top-up is another one
-- by now: after a restore the next one that is added, or discovered, gets the id of one that was forgotten.
--   document  the content of the file: "known" has id, name, MAC and time of each
-- From now on nobody gets an id that the document has. Called by radmeter.restore_invoice only. Reads radmeter.issuers,
-- tenants, routers, plans, top_ups.
-- SQLSTATE RM001: one of them is another one.
CREATE OR REPLACE FUNCTION radmeter.refuse_others(p_document jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_other record;
BEGIN
    -- A sequence does not roll back: the ids stay free even if the document is refused.
    PERFORM setval(sequence.named, sequence.highest)
    FROM (SELECT pg_get_serial_sequence(CASE known.kind
                     WHEN 'issuer' THEN 'radmeter.issuers' WHEN 'tenant' THEN 'radmeter.tenants'
                     WHEN 'router' THEN 'public.routers' WHEN 'plan' THEN 'public.plans' ELSE 'public.top_ups' END, 'id')
                 AS named, max(known.id) AS highest
          FROM jsonb_to_recordset(p_document -> 'known') AS known (kind text, id bigint)
          -- An operator's own number of a tenant may be any.
          WHERE known.id < 4611686018427387904
          GROUP BY known.kind) AS sequence
    WHERE sequence.highest > coalesce(pg_sequence_last_value(sequence.named::regclass), 0);
    SELECT known.kind, known.id, known.name, here.name AS here INTO v_other
    FROM jsonb_to_recordset(p_document -> 'known') AS known (kind text, id bigint, name text, mac macaddr, at timestamptz)
    JOIN (
        SELECT 'issuer' AS kind, issuer.id, issuer.name, NULL::macaddr AS mac, issuer.created_at AS at
        FROM radmeter.issuers AS issuer
        UNION ALL
        SELECT 'tenant', tenant.id, tenant.name, NULL, tenant.created_at FROM radmeter.tenants AS tenant
        UNION ALL
        SELECT 'router', router.id, router.name, router.mac, router.created_at FROM public.routers AS router
        UNION ALL
        SELECT 'plan', plan.id, plan.name, NULL, NULL FROM public.plans AS plan
        UNION ALL
        SELECT 'top-up', top_up.id, top_up.username, NULL, top_up.added_at FROM public.top_ups AS top_up
    ) AS here ON here.kind = known.kind AND here.id = known.id
    -- One that was renamed, or whose device was replaced, has the time of before. A user has many top-ups.
    WHERE (here.at = known.at OR here.mac = known.mac
           OR known.kind <> 'top-up' AND here.name = known.name AND (here.mac = known.mac) IS NOT FALSE) IS NOT TRUE
    ORDER BY known.kind, known.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% cannot be restored: its % #% is "%", and that of the database is "%", since somebody wrote before '
            'the reconciliation. Restore the dump again, and reconcile before anything else writes',
            p_document ->> 'number', v_other.kind, v_other.id, v_other.name, v_other.here USING ERRCODE = 'RM001';
    END IF;
END;
$$;
