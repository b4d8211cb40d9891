-- radmeter.guard_part(): statement trigger on invoice_lines and invoice_usage, after INSERT, UPDATE and DELETE. Only a draft
-- gets lines and octets, and loses them. When a draft is deleted, it is gone before they are.
-- changed_rows are the new rows, or those deleted. An UPDATE has former_rows, too.
-- SQLSTATE RM007: a document is issued or void. Reads invoices.
CREATE OR REPLACE FUNCTION radmeter.guard_part() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_number text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT coalesce(invoice.number, '#' || part.invoice_id) INTO v_number
        FROM (SELECT invoice_id FROM changed_rows UNION SELECT invoice_id FROM former_rows) AS part
        LEFT JOIN public.invoices AS invoice ON invoice.id = part.invoice_id
        WHERE invoice.status IS DISTINCT FROM 'draft' LIMIT 1;
    ELSE
        SELECT coalesce(invoice.number, '#' || part.invoice_id) INTO v_number
        FROM (SELECT DISTINCT invoice_id FROM changed_rows) AS part
        LEFT JOIN public.invoices AS invoice ON invoice.id = part.invoice_id
        -- What was deleted may have gone with its draft.
        WHERE invoice.status <> 'draft' OR (TG_OP = 'INSERT' AND invoice.id IS NULL) LIMIT 1;
    END IF;
    IF v_number IS NOT NULL THEN
        RAISE EXCEPTION 'invoice % is no draft: its % never change; "radmeter billing credit" and "void" give it back',
            v_number, CASE TG_TABLE_NAME WHEN 'invoice_lines' THEN 'lines' ELSE 'octets' END USING ERRCODE = 'RM007';
    END IF;
    RETURN NULL;
END;
$$;
