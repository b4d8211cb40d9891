-- radmeter.discard_drafts(period, tenants): removes the drafts of a month and opens it again, so that it can be closed
-- anew.
--   tenants  tenants.id; NULL: all, and the users
-- Returns how many months of recipients were opened, and how many drafts were removed. Takes the lock radmeter.billing.
-- Writes radmeter.billing_close, invoices, invoice_lines, invoice_usage, audit_log.
-- A month whose documents are all void stays as it is: it is closed anew, or billed by a later close.
-- SQLSTATE RM001: a document of the month is issued already, or all are void. The message says what to do.
CREATE OR REPLACE FUNCTION radmeter.discard_drafts(p_period date, p_tenants bigint[])
RETURNS TABLE (closes bigint, drafts bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_month text := to_char(p_period, 'YYYY-MM');
    v_closes bigint[];
    v_kept record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.billing', 0));
    v_closes := ARRAY(SELECT closed.id FROM radmeter.billing_close AS closed
                      WHERE closed.period = p_period AND (p_tenants IS NULL OR closed.tenant_id = ANY (p_tenants))
                        -- Of a month that was closed anew the documents of before are void, and stay.
                        AND NOT EXISTS (SELECT FROM radmeter.billing_close AS later
                                        WHERE later.period = closed.period
                                          AND later.tenant_id IS NOT DISTINCT FROM closed.tenant_id
                                          AND later.run > closed.run));
    SELECT invoice.number, invoice.status, invoice.tenant_id, tenant.name,
           (SELECT count(*) FROM public.invoices AS other
            WHERE other.close_id = invoice.close_id AND other.status = 'draft') AS drafts
    INTO v_kept
    FROM public.invoices AS invoice LEFT JOIN radmeter.tenants AS tenant ON tenant.id = invoice.tenant_id
    WHERE invoice.close_id = ANY (v_closes)
      AND (invoice.status = 'issued'
           -- One row of billing_close is of all users: it stays for a void document of one of them.
           OR invoice.status = 'void' AND EXISTS (SELECT FROM public.invoices AS other
                                                  WHERE other.close_id = invoice.close_id AND other.status <> 'void'))
    ORDER BY invoice.tenant_id IS NOT NULL, invoice.id LIMIT 1;
    IF FOUND AND v_kept.tenant_id IS NOT NULL THEN
        RAISE EXCEPTION '% of this month is issued: issued documents stay. "radmeter billing void" takes it back, and "close % '
            '--tenant" then bills % anew; "discard % --tenant" removes drafts of other tenants', v_kept.number, v_month,
            quote_literal(v_kept.name), v_month USING ERRCODE = 'RM001';
    ELSIF FOUND THEN
        RAISE EXCEPTION '% of this month is % and of a user: it stays, and so the month stays closed for users%. What '
            '"radmeter billing void" takes back is billed again by the next close. "discard % --tenant" removes drafts of tenants',
            v_kept.number, v_kept.status, CASE WHEN v_kept.drafts > 0 THEN ', whose drafts can be issued' ELSE '' END, v_month
            USING ERRCODE = 'RM001';
    END IF;
    SELECT invoice.number, tenant.name, invoice.username INTO v_kept
    FROM public.invoices AS invoice LEFT JOIN radmeter.tenants AS tenant ON tenant.id = invoice.tenant_id
    WHERE invoice.close_id = ANY (v_closes) AND invoice.status = 'void'
    ORDER BY invoice.tenant_id IS NULL, invoice.id LIMIT 1;
    v_closes := ARRAY(SELECT chosen.id FROM unnest(v_closes) AS chosen (id)
                      WHERE NOT EXISTS (SELECT FROM public.invoices AS invoice
                                        WHERE invoice.close_id = chosen.id AND invoice.status = 'void'));
    IF v_kept.number IS NOT NULL AND v_closes = '{}' THEN
        RAISE EXCEPTION '% of this month is void and stays, and there is no draft to discard: %', v_kept.number,
            CASE WHEN v_kept.username IS NULL
                 THEN format('"radmeter billing close %s --tenant %s" bills the month anew', v_month, v_kept.name)
                 ELSE 'the next close of a later month bills it again' END USING ERRCODE = 'RM001';
    END IF;
    DELETE FROM public.invoices AS invoice WHERE invoice.close_id = ANY (v_closes);
    GET DIAGNOSTICS drafts = ROW_COUNT;
    DELETE FROM radmeter.billing_close AS closed WHERE closed.id = ANY (v_closes);
    GET DIAGNOSTICS closes = ROW_COUNT;
    IF closes > 0 THEN
        PERFORM radmeter.audit('billing discard',
            jsonb_build_object('period', p_period, 'tenants', p_tenants, 'closes', closes, 'drafts', drafts));
    END IF;
    RETURN NEXT;
END;
$$;
