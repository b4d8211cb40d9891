-- radmeter.retry_reason(reason, fault): the reason of a rejected packet after a retry: its first reason, and what the last
-- retry found, cut to 1,000 characters.
-- Called by radmeter.retry_rejected only.
CREATE OR REPLACE FUNCTION radmeter.retry_reason(p_reason text, p_fault text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE split_part(p_reason, '; retry: ', 1)
    WHEN p_fault THEN p_fault
    ELSE split_part(p_reason, '; retry: ', 1) || '; retry: ' || replace(left(p_fault, 1000), '; retry: ', '; ')
END;
