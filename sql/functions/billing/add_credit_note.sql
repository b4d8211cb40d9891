-- radmeter.add_credit_note(note): issues a credit note: it gives back a part of an issued invoice, or all that is left.
--   note  JSON object: "invoice_id", "net", "tax", "taxes", "reason", "voids", and "lines", rows of credit_note_lines in
--         their order. With "voids" the invoice becomes void: its octets and top-ups are billed by the next document.
-- Takes the lock radmeter.billing. Returns credit_notes.id. Writes credit_notes, credit_note_lines, invoices,
-- radmeter.document_number, audit_log.
-- SQLSTATE RM001: the invoice is not issued, less is left of it, or the note is no part of it.
CREATE OR REPLACE FUNCTION radmeter.add_credit_note(p_note jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_invoice public.invoices%ROWTYPE;
    v_voids boolean := coalesce((p_note ->> 'voids')::boolean, false);
    v_net numeric := (p_note ->> 'net')::numeric;
    v_tax numeric := (p_note ->> 'tax')::numeric;
    v_drawn record;
    v_note bigint;
    v_number text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.billing', 0));
    SELECT * INTO v_invoice FROM public.invoices AS invoice WHERE invoice.id = (p_note ->> 'invoice_id')::bigint FOR UPDATE;
    IF v_invoice.id IS NULL OR v_invoice.close_id IS NULL OR v_invoice.status <> 'issued' THEN
        RAISE EXCEPTION '% is %: only an issued document can be credited', coalesce(v_invoice.number, 'the document'),
            coalesce(v_invoice.status, 'unknown') USING ERRCODE = 'RM001';
    END IF;
    -- A share of the net, of the tax, of the sum, and of each rate of tax. An invoice below 0 is taken back by notes below 0.
    IF EXISTS (
        SELECT FROM (
            SELECT v_invoice.net AS whole, v_net + coalesce(sum(note.net), 0) AS taken
            FROM public.credit_notes AS note WHERE note.invoice_id = v_invoice.id
            UNION ALL
            SELECT v_invoice.tax, v_tax + coalesce(sum(note.tax), 0)
            FROM public.credit_notes AS note WHERE note.invoice_id = v_invoice.id
            UNION ALL
            SELECT v_invoice.amount, v_net + v_tax + coalesce(sum(note.amount), 0)
            FROM public.credit_notes AS note WHERE note.invoice_id = v_invoice.id
            UNION ALL
            SELECT sum(rate.whole), sum(rate.taken)
            FROM (
                SELECT of.rate, of.rule, of.net AS whole, 0 AS taken
                FROM jsonb_to_recordset(v_invoice.taxes) AS of (rate numeric, rule text, net numeric)
                UNION ALL
                SELECT line.tax_rate, line.tax_rule, 0, line.net
                FROM public.credit_notes AS note JOIN public.credit_note_lines AS line ON line.credit_note_id = note.id
                WHERE note.invoice_id = v_invoice.id
                UNION ALL
                SELECT line.tax_rate, line.tax_rule, 0, line.net
                FROM jsonb_to_recordset(p_note -> 'lines') AS line (net numeric, tax_rate numeric, tax_rule text)
            ) AS rate GROUP BY rate.rate, rate.rule
        ) AS part
        -- Beyond the whole, on the side on which it is.
        WHERE part.taken <> 0 AND (sign(part.taken) <> sign(part.whole) OR abs(part.taken) > abs(part.whole))
    ) THEN
        RAISE EXCEPTION 'less than that is left of %: "radmeter billing show" shows what was credited already', v_invoice.number
            USING ERRCODE = 'RM001';
    END IF;
    IF v_voids AND v_invoice.amount <> v_net + v_tax + (
            SELECT coalesce(sum(note.amount), 0) FROM public.credit_notes AS note WHERE note.invoice_id = v_invoice.id) THEN
        RAISE EXCEPTION 'the note does not take the whole rest of %: another note was issued meanwhile, try again',
            v_invoice.number USING ERRCODE = 'RM001';
    END IF;
    SELECT * INTO v_drawn FROM radmeter.draw_numbers(v_invoice.issuer_id, 'credit_note', 1);
    v_number := radmeter.number_text(v_drawn.format, v_drawn.written_year, v_drawn.before + 1);
    INSERT INTO public.credit_notes (invoice_id, issuer_id, number_year, sequence, number, currency, digits, net, tax,
                                     amount, taxes, reason, voids, recipient, issuer)
    VALUES (v_invoice.id, v_invoice.issuer_id, v_drawn.number_year, v_drawn.before + 1, v_number, v_invoice.currency,
            v_invoice.digits, v_net, v_tax, v_net + v_tax, p_note -> 'taxes', p_note ->> 'reason', v_voids,
            v_invoice.recipient, v_invoice.issuer)
    RETURNING id INTO v_note;
    INSERT INTO public.credit_note_lines (credit_note_id, line, invoice_line, description, net, tax_rate, tax_rule)
    SELECT v_note, place, (line ->> 'invoice_line')::integer, line ->> 'description', (line ->> 'net')::numeric,
           (line ->> 'tax_rate')::numeric, line ->> 'tax_rule'
    FROM jsonb_array_elements(p_note -> 'lines') WITH ORDINALITY AS given (line, place);
    PERFORM radmeter.check_credit_note(v_note);
    IF v_voids THEN
        UPDATE public.invoices AS invoice SET status = 'void', voided_at = now() WHERE invoice.id = v_invoice.id;
    END IF;
    PERFORM radmeter.audit(CASE WHEN v_voids THEN 'billing void' ELSE 'billing credit' END, jsonb_build_object(
        'invoice', v_invoice.number, 'credit_note', v_number, 'net', v_net, 'tax', v_tax, 'currency', v_invoice.currency,
        'reason', p_note ->> 'reason'));
    RETURN v_note;
END;
$$;
