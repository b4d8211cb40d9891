-- radmeter.guard_invoice(): row trigger on invoices, before UPDATE and DELETE. What is issued never changes, whoever asks:
-- a draft may change, be issued or be deleted, and an issued document may become void with the credit note of its rest.
-- Nothing else. The octets of a draft go with it.
-- An invoice of another program (close_id NULL) is issued when it is written: what it bills stays. Columns of that
-- program's own, such as when it was paid, may change, and the program may delete it.
-- SQLSTATE RM007: the change is none of these. Reads invoice_lines, invoice_usage, credit_notes,
-- radmeter.document_number. Writes invoice_usage.
CREATE OR REPLACE FUNCTION radmeter.guard_invoice() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_may_change text[] := ARRAY['status', 'voided_at'];
    v_kept text[] := ARRAY['id', 'username', 'plan_id', 'period_start', 'period_end', 'usage', 'amount', 'currency',
        'issued_at', 'issued_by', 'tenant_id', 'of_tenant_id', 'close_id', 'status', 'issuer_id', 'number_year',
        'sequence', 'number', 'digits', 'usage_bytes', 'net', 'tax', 'taxes', 'recipient', 'issuer', 'terms', 'voided_at'];
BEGIN
    IF OLD.close_id IS NULL THEN
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        ELSIF NOT EXISTS (SELECT FROM jsonb_each(to_jsonb(NEW)) AS now
                          WHERE now.key = ANY (v_kept) AND now.value IS DISTINCT FROM to_jsonb(OLD) -> now.key) THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'invoice #% is issued: what it bills never changes', OLD.id USING ERRCODE = 'RM007';
    END IF;
    IF TG_OP = 'DELETE' THEN
        IF OLD.status = 'draft' THEN
            DELETE FROM public.invoice_usage AS usage WHERE usage.invoice_id = OLD.id;
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'invoice % is %: it is not deleted; "radmeter billing void" takes an issued one back',
            coalesce(OLD.number, '#' || OLD.id), OLD.status USING ERRCODE = 'RM007';
    END IF;
    IF OLD.status = 'draft' AND NEW.status = 'draft' AND NEW.id = OLD.id THEN
        RETURN NEW;
    ELSIF OLD.status = 'draft' AND NEW.status = 'issued' AND NEW.id = OLD.id THEN
        IF NEW.net IS DISTINCT FROM (SELECT coalesce(sum(line.net), 0) FROM public.invoice_lines AS line
                                     WHERE line.invoice_id = NEW.id) THEN
            RAISE EXCEPTION 'invoice #% is not the sum of its lines: it cannot be issued', NEW.id USING ERRCODE = 'RM007';
        ELSIF NEW.recipient IS NULL OR NEW.issuer IS NULL THEN
            RAISE EXCEPTION 'invoice #% has no recipient: nobody has priced it, so it cannot be issued', NEW.id
                USING ERRCODE = 'RM007';
        ELSIF coalesce(NEW.usage_bytes, 0) <> (
                SELECT coalesce(sum(usage.bytes_in::numeric + usage.bytes_out), 0) FROM public.invoice_usage AS usage
                WHERE usage.invoice_id = NEW.id)
            OR coalesce(NEW.usage_bytes, 0) <> (
                SELECT coalesce(sum(line.usage_bytes), 0) FROM public.invoice_lines AS line
                WHERE line.invoice_id = NEW.id) THEN
            RAISE EXCEPTION 'the octets of invoice #% are not those that were frozen: it cannot be issued', NEW.id
                USING ERRCODE = 'RM007';
        ELSIF NEW.tax IS DISTINCT FROM (SELECT coalesce(sum(of.tax), 0)
                                        FROM jsonb_to_recordset(NEW.taxes) AS of (tax numeric))
            OR EXISTS (
                SELECT FROM (
                    SELECT rate, rule, net, tax, 0 AS of_lines, 0 AS lines
                    FROM jsonb_to_recordset(NEW.taxes) AS of (rate numeric, rule text, net numeric, tax numeric)
                    UNION ALL
                    SELECT line.tax_rate, line.tax_rule, 0, 0, line.net, 1
                    FROM public.invoice_lines AS line WHERE line.invoice_id = NEW.id
                ) AS part
                GROUP BY part.rate, part.rule
                HAVING sum(part.net) <> sum(part.of_lines)
                    -- Rounded once, or for each line.
                    OR abs(sum(part.tax) - part.rate * sum(part.net) / 100)
                       > 0.5 * 10::numeric ^ -NEW.digits * greatest(sum(part.lines), 1)) THEN
            RAISE EXCEPTION 'the tax of invoice #% is not that of its lines: it cannot be issued', NEW.id
                USING ERRCODE = 'RM007';
        ELSIF NOT EXISTS (SELECT FROM radmeter.document_number AS counter
                          WHERE counter.issuer_id = NEW.issuer_id AND counter.kind = 'invoice'
                            AND counter.year = NEW.number_year AND counter.last >= NEW.sequence) THEN
            RAISE EXCEPTION 'invoice #%: nobody has drawn the number %', NEW.id, NEW.number USING ERRCODE = 'RM007';
        END IF;
        RETURN NEW;
    ELSIF OLD.status = 'issued' AND NEW.status = 'void'
            AND to_jsonb(NEW) - v_may_change = to_jsonb(OLD) - v_may_change
            AND OLD.amount = (SELECT sum(note.amount) FROM public.credit_notes AS note WHERE note.invoice_id = OLD.id)
            AND EXISTS (SELECT FROM public.credit_notes AS note WHERE note.invoice_id = OLD.id AND note.voids) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'invoice % is %: it never changes; "radmeter billing credit" and "void" give it back',
        coalesce(OLD.number, '#' || OLD.id), OLD.status USING ERRCODE = 'RM007';
END;
$$;
