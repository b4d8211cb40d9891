-- radmeter.discard_drafts(period, tenants): removes the drafts of a month and opens it again, so that it can be closed
-- anew.
--   tenants  tenants.id; NULL: all, and the users
-- Returns how many months of recipients were opened, and how many drafts were removed. Takes the lock radmeter.billing.
-- Writes radmeter.billing_close, invoices, invoice_lines, invoice_usage, audit_log.
-- SQLSTATE RM001: a document of the month is issued already.
CREATE OR REPLACE FUNCTION radmeter.discard_drafts(p_period date, p_tenants bigint[])
RETURNS TABLE (closes bigint, drafts bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_closes bigint[];
    v_issued text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('radmeter.billing', 0));
    v_closes := ARRAY(SELECT closed.id FROM radmeter.billing_close AS closed
                      WHERE closed.period = p_period AND (p_tenants IS NULL OR closed.tenant_id = ANY (p_tenants))
                        -- Of a month that was closed anew the documents of before are void, and stay.
                        AND NOT EXISTS (SELECT FROM radmeter.billing_close AS later
                                        WHERE later.period = closed.period
                                          AND later.tenant_id IS NOT DISTINCT FROM closed.tenant_id
                                          AND later.run > closed.run));
    SELECT invoice.number INTO v_issued FROM public.invoices AS invoice
    WHERE invoice.close_id = ANY (v_closes) AND invoice.status <> 'draft' ORDER BY invoice.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% of this month is issued: issued documents stay; "radmeter billing void" takes one back', v_issued
            USING ERRCODE = 'RM001';
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
