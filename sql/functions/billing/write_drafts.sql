-- radmeter.write_drafts(documents): writes amounts and lines of drafts, whose months were closed in this transaction.
--   documents  JSON array. "id" is a draft of radmeter.freeze_usage; without it a draft of a user is made, of the close
--              "close_id". "lines" are rows of invoice_lines in their order.
-- Returns how many lines were written. Writes invoices, invoice_lines.
CREATE OR REPLACE FUNCTION radmeter.write_drafts(p_documents json) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH given AS MATERIALIZED (
        SELECT * FROM json_to_recordset(p_documents) AS document (
            id bigint, close_id bigint, username text, of_tenant_id bigint, currency text, digits smallint,
            issuer_id bigint, usage_bytes bigint, net numeric, tax numeric, taxes jsonb, recipient jsonb, issuer jsonb,
            terms jsonb, lines json)
    ), made AS (
        INSERT INTO public.invoices (username, of_tenant_id, close_id, status, period_start, period_end, currency,
                                     digits, issuer_id, usage_bytes, net, tax, amount, taxes, recipient, issuer, terms,
                                     issued_at)
        SELECT given.username, given.of_tenant_id, closed.id, 'draft', closed.period,
               (closed.period + interval '1 month')::date, given.currency, given.digits, given.issuer_id,
               given.usage_bytes, given.net, given.tax, given.net + given.tax, given.taxes, given.recipient,
               given.issuer, given.terms, NULL
        FROM given JOIN radmeter.billing_close AS closed ON closed.id = given.close_id
        WHERE given.id IS NULL AND closed.tenant_id IS NULL
        RETURNING id, close_id, username, of_tenant_id
    ), changed AS (
        UPDATE public.invoices AS invoice SET
            usage_bytes = given.usage_bytes, net = given.net, tax = given.tax, amount = given.net + given.tax,
            taxes = given.taxes, recipient = given.recipient, issuer = given.issuer, terms = given.terms
        FROM given WHERE invoice.id = given.id AND invoice.status = 'draft'
        RETURNING invoice.id
    ), written AS (
        INSERT INTO public.invoice_lines (invoice_id, line, kind, period_start, period_end, description, arithmetic,
                                          usage_bytes, quantity, unit, unit_price, net, tax_rate, tax_rule, plan_id,
                                          top_up_id, adjusts, detail)
        SELECT coalesce(changed.id, made.id), line.number, line.kind, line.period_start, line.period_end,
               line.description, line.arithmetic, line.usage_bytes, line.quantity, line.unit, line.unit_price, line.net,
               line.tax_rate, line.tax_rule, line.plan_id, line.top_up_id, coalesce(line.adjusts, false),
               coalesce(line.detail, '{}')
        FROM given
        LEFT JOIN changed ON changed.id = given.id
        LEFT JOIN made ON made.close_id = given.close_id AND made.username = given.username AND given.id IS NULL
                      AND made.of_tenant_id IS NOT DISTINCT FROM given.of_tenant_id
        CROSS JOIN LATERAL ROWS FROM (json_to_recordset(given.lines) AS (
            kind text, period_start date, period_end date, description text, arithmetic text, usage_bytes bigint,
            quantity numeric, unit text, unit_price numeric, net numeric, tax_rate numeric, tax_rule text,
            plan_id bigint, top_up_id bigint, adjusts boolean, detail jsonb)) WITH ORDINALITY AS line (
            kind, period_start, period_end, description, arithmetic, usage_bytes, quantity, unit, unit_price, net,
            tax_rate, tax_rule, plan_id, top_up_id, adjusts, detail, number)
        RETURNING 1
    )
    SELECT count(*) FROM written;
$$;
