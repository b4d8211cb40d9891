-- radmeter.undo_top_up(id, username): takes back what is unused of a top-up. What it has paid stays paid. Sessions that live
-- on it are disconnected, if nothing else is left.
--   username  whose top-up it has to be; NULL: anybody's
-- A top-up of which nothing is used is deleted, of another one the used octets stay. Takes the lock of radmeter.ingest.
-- Returns whose it was, and how many octets were taken back. Writes top_ups, audit_log, and what radmeter.apply_quotas
-- writes.
-- SQLSTATE RM001, with the reason: there is no such top-up, it has expired, all of it is used, or a document bills it.
CREATE OR REPLACE FUNCTION radmeter.undo_top_up(p_id bigint, p_username text)
RETURNS TABLE (username text, taken_back bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_top_up public.top_ups%ROWTYPE;
    v_number text;
BEGIN
    SELECT * INTO v_top_up FROM public.top_ups AS top_up WHERE top_up.id = p_id;
    IF FOUND THEN
        PERFORM radmeter.lock_subscriber(v_top_up.username);
        SELECT * INTO v_top_up FROM public.top_ups AS top_up WHERE top_up.id = p_id FOR UPDATE;
    END IF;
    IF v_top_up.id IS NULL OR v_top_up.username <> p_username THEN
        RAISE EXCEPTION 'there is no top-up #%: "radmeter users show" lists those of a user',
            concat_ws(' of ', p_id, '"' || p_username || '"') USING ERRCODE = 'RM001';
    ELSIF v_top_up.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'the top-up #% has expired: there is nothing to take back', p_id USING ERRCODE = 'RM001';
    ELSIF v_top_up.used_bytes = v_top_up.bytes THEN
        RAISE EXCEPTION 'the top-up #% is used up: there is nothing to take back', p_id USING ERRCODE = 'RM001';
    END IF;
    SELECT coalesce(invoice.number, '') INTO v_number
    FROM public.invoice_lines AS line JOIN public.invoices AS invoice ON invoice.id = line.invoice_id
    WHERE line.top_up_id = p_id AND invoice.status <> 'void' ORDER BY invoice.id LIMIT 1;
    IF v_number = '' THEN
        RAISE EXCEPTION 'the top-up #% is in the draft of a document: first "radmeter billing discard", then close again', p_id
            USING ERRCODE = 'RM001';
    ELSIF v_number IS NOT NULL THEN
        RAISE EXCEPTION 'the top-up #% is billed in %: give the money back with "radmeter billing credit"', p_id, v_number
            USING ERRCODE = 'RM001';
    END IF;
    IF v_top_up.used_bytes = 0 THEN
        DELETE FROM public.top_ups AS top_up WHERE top_up.id = p_id;
    ELSE
        UPDATE public.top_ups AS top_up SET bytes = top_up.used_bytes WHERE top_up.id = p_id;
    END IF;
    PERFORM radmeter.apply_quotas(ARRAY[v_top_up.username], false);
    PERFORM radmeter.audit('users top-up --undo', to_jsonb(v_top_up)
        || jsonb_build_object('taken_back', v_top_up.bytes - v_top_up.used_bytes));
    RETURN QUERY SELECT v_top_up.username, v_top_up.bytes - v_top_up.used_bytes;
END;
$$;
