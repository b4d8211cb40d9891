-- radmeter.restore_credit_note(document): takes an issued credit note back that the database has forgotten, as its signed file
-- has it. If it voids its invoice, that becomes void again.
--   document  the content of the file
-- The caller holds the lock radmeter.billing. Returns credit_notes.id. Writes credit_notes, credit_note_lines, invoices,
-- radmeter.document_number, audit_log.
-- SQLSTATE RM001: the database does not have its invoice, or the note is no part of it.
CREATE OR REPLACE FUNCTION radmeter.restore_credit_note(p_document jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_given public.credit_notes%ROWTYPE := jsonb_populate_record(NULL::public.credit_notes, p_document - 'id');
    v_invoice bigint;
    v_id bigint := (p_document ->> 'id')::bigint;
BEGIN
    SELECT invoice.id INTO v_invoice FROM public.invoices AS invoice
    WHERE invoice.issuer_id = v_given.issuer_id AND invoice.number_year = (p_document ->> 'invoice_year')::integer
      AND invoice.sequence = (p_document ->> 'invoice_sequence')::bigint;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% cannot be restored: there is no invoice %', v_given.number, p_document ->> 'invoice_number'
            USING ERRCODE = 'RM001';
    END IF;
    IF EXISTS (SELECT FROM public.invoices AS invoice WHERE invoice.number = v_given.number)
            OR EXISTS (SELECT FROM public.credit_notes AS note WHERE note.number = v_given.number) THEN
        RAISE EXCEPTION '% cannot be restored: another document has the number', v_given.number USING ERRCODE = 'RM001';
    END IF;
    IF EXISTS (SELECT FROM public.credit_notes AS note WHERE note.id = v_id) THEN
        v_id := nextval(pg_get_serial_sequence('public.credit_notes', 'id'));
    END IF;
    PERFORM radmeter.count_number(v_given.issuer_id, 'credit_note', v_given.number_year, v_given.sequence);
    INSERT INTO public.credit_notes (id, invoice_id, issuer_id, number_year, sequence, number, currency, digits, net, tax,
                                     amount, taxes, reason, voids, recipient, issuer, issued_at, issued_by)
    VALUES (v_id, v_invoice, v_given.issuer_id, v_given.number_year, v_given.sequence, v_given.number, v_given.currency,
            v_given.digits, v_given.net, v_given.tax, v_given.net + v_given.tax, v_given.taxes, v_given.reason,
            v_given.voids, v_given.recipient, v_given.issuer, v_given.issued_at, v_given.issued_by);
    PERFORM setval(pg_get_serial_sequence('public.credit_notes', 'id'), greatest(v_id, nextval(pg_get_serial_sequence('public.credit_notes', 'id'))));
    INSERT INTO public.credit_note_lines (credit_note_id, line, invoice_line, description, net, tax_rate, tax_rule)
    SELECT v_id, line.line, line.invoice_line, line.description, line.net, line.tax_rate, line.tax_rule
    FROM jsonb_to_recordset(p_document -> 'lines') AS line (
        line integer, invoice_line integer, description text, net numeric, tax_rate numeric, tax_rule text);
    PERFORM radmeter.check_credit_note(v_id);
    IF v_given.voids THEN
        UPDATE public.invoices AS invoice SET status = 'void', voided_at = v_given.issued_at WHERE invoice.id = v_invoice;
    END IF;
    PERFORM radmeter.audit('billing reconcile', jsonb_build_object(
        'credit_note', v_given.number, 'invoice', p_document ->> 'invoice_number', 'net', v_given.net, 'tax', v_given.tax,
        'currency', v_given.currency));
    RETURN v_id;
END;
$$;
