-- radmeter.issue_drafts(invoices): issues drafts: each gets the next number of its issuer, tenants in the order of their
-- names, then users in the order of theirs.
--   invoices  invoices.id
-- Takes the lock radmeter.billing. Returns invoices.id, in the order of the numbers. Writes invoices,
-- radmeter.document_number, audit_log.
-- SQLSTATE RM001: one of them is no draft.
CREATE OR REPLACE FUNCTION radmeter.issue_drafts(p_invoices bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_issuer record;
    v_drawn record;
    v_issued bigint[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.billing', 0));
    IF (SELECT count(*) FROM public.invoices AS invoice WHERE invoice.id = ANY (p_invoices) AND invoice.status = 'draft')
            <> (SELECT count(DISTINCT id) FROM unnest(p_invoices) AS id) THEN
        RAISE EXCEPTION 'a draft was issued or discarded meanwhile: look with "radmeter billing list --status draft", and try again'
            USING ERRCODE = 'RM001';
    END IF;
    FOR v_issuer IN
        SELECT invoice.issuer_id AS id,
               array_agg(invoice.id ORDER BY invoice.period_start, tenant.name, invoice.username, invoice.id) AS drafts
        FROM public.invoices AS invoice LEFT JOIN radmeter.tenants AS tenant ON tenant.id = invoice.tenant_id
        WHERE invoice.id = ANY (p_invoices)
        GROUP BY invoice.issuer_id ORDER BY invoice.issuer_id LOOP
        SELECT * INTO v_drawn FROM radmeter.draw_numbers(v_issuer.id, 'invoice', cardinality(v_issuer.drafts));
        UPDATE public.invoices AS invoice SET
            status = 'issued', issued_at = now(), issued_by = session_user, number_year = v_drawn.number_year,
            sequence = v_drawn.before + draft.place,
            number = radmeter.number_text(v_drawn.format, v_drawn.written_year, v_drawn.before + draft.place)
        FROM unnest(v_issuer.drafts) WITH ORDINALITY AS draft (id, place)
        WHERE invoice.id = draft.id;
        v_issued := v_issued || v_issuer.drafts;
    END LOOP;
    PERFORM radmeter.audit('billing issue', (
        SELECT jsonb_build_object('documents', count(*), 'first', min(invoice.number), 'last', max(invoice.number),
                                  'invoices', jsonb_agg(invoice.id ORDER BY invoice.id))
        FROM public.invoices AS invoice WHERE invoice.id = ANY (v_issued)));
    RETURN v_issued;
END;
$$;
