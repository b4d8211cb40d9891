-- radmeter.check_credit_note(note): refuses a credit note that is no part of its invoice: not the sum of its lines, other
-- taxes than theirs, more digits than the currency has, lines that the invoice does not have, or one that charges.
--   note  credit_notes.id
-- Called by radmeter.add_credit_note and radmeter.restore_credit_note only. Reads invoices, invoice_lines, credit_notes,
-- credit_note_lines.
-- SQLSTATE RM001, with the reason.
CREATE OR REPLACE FUNCTION radmeter.check_credit_note(p_note bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_note public.credit_notes%ROWTYPE;
    v_invoice public.invoices%ROWTYPE;
    v_reason text;
BEGIN
    SELECT * INTO v_note FROM public.credit_notes AS note WHERE note.id = p_note;
    SELECT * INTO v_invoice FROM public.invoices AS invoice WHERE invoice.id = v_note.invoice_id;
    IF v_note.net <> (SELECT coalesce(sum(line.net), 0) FROM public.credit_note_lines AS line
                      WHERE line.credit_note_id = p_note) THEN
        v_reason := 'it is not the sum of its lines';
    ELSIF scale(v_note.net) > v_note.digits OR scale(v_note.tax) > v_note.digits OR EXISTS (
            SELECT FROM public.credit_note_lines AS line
            WHERE line.credit_note_id = p_note AND scale(line.net) > v_note.digits) THEN
        v_reason := format('%s has %s digits after the point', v_note.currency, v_note.digits);
    ELSIF sign(v_note.net) NOT IN (0, sign(v_invoice.net)) OR sign(v_note.amount) NOT IN (0, sign(v_invoice.amount)) THEN
        v_reason := 'it would charge, and not give back';
    ELSIF EXISTS (
            SELECT FROM public.credit_note_lines AS line
            WHERE line.credit_note_id = p_note AND NOT EXISTS (
                SELECT FROM public.invoice_lines AS of
                WHERE of.invoice_id = v_invoice.id AND of.line = line.invoice_line AND of.tax_rate = line.tax_rate
                  AND of.tax_rule IS NOT DISTINCT FROM line.tax_rule)) THEN
        v_reason := 'the invoice does not have one of its lines';
    ELSIF v_note.tax <> (SELECT coalesce(sum(of.tax), 0) FROM jsonb_to_recordset(v_note.taxes) AS of (tax numeric))
        OR EXISTS (
            SELECT FROM (
                SELECT of.rate, of.rule, of.net FROM jsonb_to_recordset(v_note.taxes) AS of (
                    rate numeric, rule text, net numeric)
                UNION ALL
                SELECT line.tax_rate, line.tax_rule, -line.net FROM public.credit_note_lines AS line
                WHERE line.credit_note_id = p_note
            ) AS part GROUP BY part.rate, part.rule HAVING sum(part.net) <> 0)
        OR EXISTS (
            SELECT FROM jsonb_to_recordset(v_note.taxes) AS of (rate numeric, rule text)
            WHERE NOT EXISTS (
                SELECT FROM jsonb_to_recordset(v_invoice.taxes) AS its (rate numeric, rule text)
                WHERE its.rate = of.rate AND its.rule IS NOT DISTINCT FROM of.rule)) THEN
        v_reason := 'its taxes are not those of its lines';
    END IF;
    IF v_reason IS NOT NULL THEN
        RAISE EXCEPTION 'the credit note % of % cannot be: %', v_note.number, v_invoice.number, v_reason
            USING ERRCODE = 'RM001';
    END IF;
END;
$$;
