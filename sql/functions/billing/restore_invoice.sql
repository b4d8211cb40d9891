-- radmeter.restore_invoice(document): takes an issued invoice back that the database has forgotten, since it was restored from
-- a dump or the transaction that issued it was killed: with its number, lines and octets, as its signed file has it. Its
-- month is closed. A draft in its place goes.
--   document  the content of the file
-- Also makes the issuer and the tenant again, if the database has forgotten them, too. The caller holds the lock
-- radmeter.billing. Returns invoices.id. Writes radmeter.issuers, tenants, billing_close, document_number, invoices,
-- invoice_lines, invoice_usage, audit_log.
-- SQLSTATE RM001, with the reason: something else is in its place, or its issuer, tenant, a router, plan or top-up is
-- another one by now.
CREATE OR REPLACE FUNCTION radmeter.restore_invoice(p_document jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- "usage" is a list of octets here, and a column of volume in the table.
    v_given public.invoices%ROWTYPE := jsonb_populate_record(NULL::public.invoices, p_document - 'id' - 'usage');
    v_recipient jsonb := p_document -> 'recipient';
    v_issuer jsonb := p_document -> 'issuer';
    v_close jsonb := p_document -> 'close';
    v_new_issuer radmeter.issuers%ROWTYPE;
    v_close_id bigint;
    v_run integer;
    v_found record;
    v_id bigint := (p_document ->> 'id')::bigint;
BEGIN
    PERFORM radmeter.refuse_others(p_document);
    IF NOT EXISTS (SELECT FROM radmeter.issuers WHERE id = v_given.issuer_id) THEN
        SELECT known.id, known.name, v_issuer ->> 'legal_name', v_issuer ->> 'address', v_issuer ->> 'tax_id',
               known.number_format, known.credit_format, known.yearly, known.at
        INTO v_new_issuer
        FROM jsonb_to_recordset(p_document -> 'known') AS known (
            kind text, id bigint, name text, at timestamptz, number_format text, credit_format text, yearly boolean)
        WHERE known.kind = 'issuer';
        -- Its formats must not be those of an issuer that was added since.
        PERFORM radmeter.check_issuer(v_new_issuer);
        IF EXISTS (SELECT FROM radmeter.issuers WHERE name = v_new_issuer.name) THEN
            RAISE EXCEPTION 'the issuer "%" of % is another one in the database: rename that one first',
                v_new_issuer.name, v_given.number USING ERRCODE = 'RM001';
        END IF;
        INSERT INTO radmeter.issuers SELECT (v_new_issuer).*;
    END IF;
    IF v_given.tenant_id IS NOT NULL AND NOT EXISTS (SELECT FROM radmeter.tenants WHERE id = v_given.tenant_id) THEN
        IF EXISTS (SELECT FROM radmeter.tenants WHERE name = v_recipient ->> 'name') THEN
            RAISE EXCEPTION 'the tenant "%" of % is another one in the database: rename that one first',
                v_recipient ->> 'name', v_given.number USING ERRCODE = 'RM001';
        END IF;
        INSERT INTO radmeter.tenants (id, name, currency, digits, timezone, legal_name, address, email, tax_id, tax_rate,
                                      tax_rule, language, issuer_id, created_at)
        VALUES (v_given.tenant_id, v_recipient ->> 'name', v_given.currency, v_given.digits,
                p_document #>> '{terms,timezone}', v_recipient ->> 'legal_name', v_recipient ->> 'address',
                v_recipient ->> 'email', v_recipient ->> 'tax_id', coalesce((v_recipient ->> 'tax_rate')::numeric, 0),
                v_recipient ->> 'tax_rule', p_document #>> '{terms,language}', v_given.issuer_id,
                (SELECT known.at FROM jsonb_to_recordset(p_document -> 'known') AS known (kind text, id bigint, at timestamptz)
                 WHERE known.kind = 'tenant' AND known.id = v_given.tenant_id));
    END IF;
    PERFORM setval(pg_get_serial_sequence(sequence.of_table, 'id'), sequence.highest)
    FROM (SELECT 'radmeter.issuers' AS of_table, max(id) AS highest FROM radmeter.issuers
          UNION ALL SELECT 'radmeter.tenants', max(id) FROM radmeter.tenants WHERE id < 4611686018427387904) AS sequence
    WHERE sequence.highest >= (SELECT last_value FROM pg_sequences
                               WHERE schemaname = 'radmeter' AND schemaname || '.' || sequencename
                                     = pg_get_serial_sequence(sequence.of_table, 'id'));
    IF EXISTS (SELECT FROM public.invoices AS invoice WHERE invoice.number = v_given.number)
            OR EXISTS (SELECT FROM public.credit_notes AS note WHERE note.number = v_given.number) THEN
        RAISE EXCEPTION '% cannot be restored: another document has the number', v_given.number USING ERRCODE = 'RM001';
    END IF;
    SELECT closed.id, closed.run INTO v_close_id, v_run FROM radmeter.billing_close AS closed
    WHERE closed.period = v_given.period_start AND closed.tenant_id IS NOT DISTINCT FROM v_given.tenant_id
    ORDER BY closed.run DESC LIMIT 1;
    -- The dump has the drafts of a close that was discarded after it.
    IF EXISTS (SELECT FROM radmeter.billing_close AS stale
               WHERE stale.id = v_close_id
                 AND (stale.closed_at, stale.closed_by, stale.snapshot, stale.settings - 'restored') IS DISTINCT FROM (
                     (v_close ->> 'closed_at')::timestamptz, v_close ->> 'closed_by', v_close ->> 'snapshot',
                     v_close -> 'settings'))
            AND NOT EXISTS (SELECT FROM public.invoices AS invoice
                            WHERE invoice.close_id = v_close_id AND invoice.status <> 'draft') THEN
        DELETE FROM public.invoices AS invoice WHERE invoice.close_id = v_close_id;
        DELETE FROM radmeter.billing_close AS closed WHERE closed.id = v_close_id;
        v_close_id := NULL;
        v_run := v_run - 1;
    END IF;
    IF v_close_id IS NULL OR v_given.tenant_id IS NOT NULL AND EXISTS (
            -- The month was closed anew after that.
            SELECT FROM public.invoices AS invoice WHERE invoice.close_id = v_close_id AND invoice.status = 'void') THEN
        INSERT INTO radmeter.billing_close (period, tenant_id, run, closed_at, closed_by, snapshot, settings)
        VALUES (v_given.period_start, v_given.tenant_id, coalesce(v_run, 0) + 1, (v_close ->> 'closed_at')::timestamptz,
                v_close ->> 'closed_by', v_close ->> 'snapshot',
                -- Other users' drafts are forgotten: the month is to be closed for them.
                (v_close -> 'settings') || CASE WHEN v_given.tenant_id IS NULL THEN '{"restored": true}'::jsonb ELSE '{}' END)
        RETURNING id INTO v_close_id;
    END IF;
    SELECT invoice.id, invoice.status, invoice.number INTO v_found FROM public.invoices AS invoice
    WHERE invoice.close_id = v_close_id AND invoice.username IS NOT DISTINCT FROM v_given.username
      AND invoice.of_tenant_id IS NOT DISTINCT FROM (
          SELECT tenant.id FROM radmeter.tenants AS tenant WHERE tenant.id = v_given.of_tenant_id);
    IF v_found.status <> 'draft' THEN
        RAISE EXCEPTION '% cannot be restored: % was issued for the same month', v_given.number, v_found.number
            USING ERRCODE = 'RM001';
    END IF;
    DELETE FROM public.invoices AS invoice WHERE invoice.id = v_found.id;
    IF EXISTS (SELECT FROM public.invoices AS invoice WHERE invoice.id = v_id) THEN
        v_id := nextval(pg_get_serial_sequence('public.invoices', 'id'));
    END IF;
    INSERT INTO public.invoices (id, username, tenant_id, of_tenant_id, close_id, status, period_start, period_end,
                                 currency, digits, issuer_id, usage_bytes, net, tax, amount, taxes, recipient, issuer,
                                 terms, issued_at)
    VALUES (v_id, v_given.username, v_given.tenant_id,
            -- Who has been forgotten has no documents of his own to come back with.
            (SELECT tenant.id FROM radmeter.tenants AS tenant WHERE tenant.id = v_given.of_tenant_id), v_close_id, 'draft',
            v_given.period_start, v_given.period_end, v_given.currency, v_given.digits, v_given.issuer_id,
            v_given.usage_bytes, v_given.net, v_given.tax, v_given.net + v_given.tax, v_given.taxes, v_recipient, v_issuer,
            v_given.terms, NULL);
    PERFORM setval(pg_get_serial_sequence('public.invoices', 'id'), greatest(v_id, nextval(pg_get_serial_sequence('public.invoices', 'id'))));
    INSERT INTO public.invoice_lines
    SELECT (jsonb_populate_record(NULL::public.invoice_lines, line || jsonb_build_object('invoice_id', v_id))).*
    FROM jsonb_array_elements(p_document -> 'lines') AS line;
    INSERT INTO public.invoice_usage (invoice_id, router_id, usage_date, bytes_in, bytes_out)
    SELECT v_id, (part ->> 0)::bigint, (part ->> 1)::date, (part ->> 2)::bigint, (part ->> 3)::bigint
    FROM jsonb_array_elements(p_document -> 'usage') AS part;
    PERFORM radmeter.count_number(v_given.issuer_id, 'invoice', v_given.number_year, v_given.sequence);
    UPDATE public.invoices AS invoice SET
        status = 'issued', issued_at = v_given.issued_at, issued_by = v_given.issued_by,
        number_year = v_given.number_year, sequence = v_given.sequence, number = v_given.number
    WHERE invoice.id = v_id;
    PERFORM radmeter.audit('billing reconcile', jsonb_build_object(
        'invoice', v_given.number, 'net', v_given.net, 'tax', v_given.tax, 'currency', v_given.currency));
    RETURN v_id;
END;
$$;
