-- radmeter.erase_notes(username): puts the pseudonym of the erasure under way into anomalies, adoption baselines, the
-- details of audit_log, messages to webhooks and alerts. Takes no lock that a packet needs.
-- Writes accounting_anomaly, radmeter.adoption_baseline, audit_log, radmeter.webhook_delivery,
-- radmeter.alerts, radmeter.erasure.
CREATE OR REPLACE FUNCTION radmeter.erase_notes(p_username text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_pseudonym text := radmeter.erasure_pseudonym(p_username);
    v_rows bigint;
BEGIN
    UPDATE public.accounting_anomaly SET username = v_pseudonym WHERE username = p_username;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    PERFORM radmeter.count_erased(p_username, 'accounting_anomaly', v_rows);
    UPDATE radmeter.adoption_baseline SET username = v_pseudonym WHERE username = p_username;
    PERFORM radmeter.count_erased(p_username, 'webhook_delivery', radmeter.erase_deliveries(p_username, v_pseudonym));
    PERFORM radmeter.count_erased(p_username, 'alerts', radmeter.erase_alerts(p_username, v_pseudonym));
    -- Last: it keeps the head of the chain of audit_log until the transaction ends.
    UPDATE public.audit_log AS line SET detail = radmeter.without_name(line.detail, p_username, v_pseudonym)
    FROM radmeter.audit_lines_with(p_username) AS found WHERE line.id = found.id;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    PERFORM radmeter.count_erased(p_username, 'audit_log', v_rows);
END;
$$;
