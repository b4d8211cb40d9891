-- radmeter.erase_packets(username, packets): replaces rejected packets by copies that do not name the user.
--   packets  JSON array of {"id", "reason", "pairs"}; pairs is text, as radmeter.people.packets makes it
-- A packet that was retried or dropped meanwhile is skipped. Returns how many were replaced.
-- Writes rejected_packet, radmeter.erasure.
CREATE OR REPLACE FUNCTION radmeter.erase_packets(p_username text, p_packets json) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rows integer;
BEGIN
    PERFORM radmeter.erasure_pseudonym(p_username);
    UPDATE public.rejected_packet AS packet SET reason = given.reason, pairs = given.pairs::json
    FROM json_to_recordset(p_packets) AS given (id bigint, reason text, pairs text)
    WHERE packet.id = given.id;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    PERFORM radmeter.count_erased(p_username, 'rejected_packet', v_rows);
    RETURN v_rows;
END;
$$;
