-- radmeter.drop_empty_drafts(invoices): removes drafts that bill nothing: no octets, no lines, nothing to pay. Their
-- months stay closed.
--   invoices  invoices.id
-- Returns how many were removed. Writes invoices.
CREATE OR REPLACE FUNCTION radmeter.drop_empty_drafts(p_invoices bigint[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH dropped AS (
        DELETE FROM public.invoices AS invoice
        WHERE invoice.id = ANY (p_invoices) AND invoice.status = 'draft' AND invoice.amount = 0
          AND NOT EXISTS (SELECT FROM public.invoice_usage AS usage WHERE usage.invoice_id = invoice.id)
          AND NOT EXISTS (SELECT FROM public.invoice_lines AS line WHERE line.invoice_id = invoice.id)
        RETURNING 1
    )
    SELECT count(*) FROM dropped;
$$;
