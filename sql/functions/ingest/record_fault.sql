-- radmeter.record_fault(..): why an accounting record cannot be counted, by the limits of packet/record.py. SQL has them
-- too, because radmeter.ingest does not believe its caller.
--   received_us  the arrival; NULL if it is not believed: then the event time is not judged by it
-- Returns the reason; NULL if the record is within all limits.
-- An SQL function of one expression: PostgreSQL puts it into the query that calls it.
CREATE OR REPLACE FUNCTION radmeter.record_fault(
    p_status text, p_uid text, p_session_id text, p_nas_ip inet, p_router_key text, p_received_us bigint,
    p_event_us bigint, p_stamped boolean, p_session_time bigint, p_input_octets bigint, p_output_octets bigint,
    p_gigawords boolean, p_interim_interval bigint) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN (p_status IN ('Interim-Update', 'Start', 'Stop', 'Accounting-On', 'Accounting-Off')) IS NOT TRUE
        THEN format('status %s is not counted', coalesce(p_status, '(none)'))
    WHEN p_uid IS NULL OR p_nas_ip IS NULL OR p_router_key IS NULL OR p_event_us IS NULL OR p_stamped IS NULL
            OR p_gigawords IS NULL OR p_session_id IS NULL AND p_status NOT IN ('Accounting-On', 'Accounting-Off')
        THEN 'a field that every record has is missing: uid, nas_ip, router_key, event_us, stamped, gigawords or session_id'
    -- Not by BETWEEN: a dump of PostgreSQL 15, restored in 18, would have other parentheses than these.
    WHEN p_input_octets < 0 OR p_input_octets > 1::bigint << 52
            OR p_output_octets < 0 OR p_output_octets > 1::bigint << 52
        THEN format('%s octets in, %s out: a session has from 0 to 2^52',
                        coalesce(p_input_octets::text, 'no'), coalesce(p_output_octets::text, 'no'))
    WHEN p_session_time NOT BETWEEN 0 AND 400 * 86400
        THEN format('session_time %s: a session lasts from 0 to 400 days', p_session_time)
    WHEN p_interim_interval NOT BETWEEN 1 AND 86400
        THEN format('interim_interval %s is not from 1 second to a day', p_interim_interval)
    -- The parser compares whole seconds.
    WHEN p_event_us NOT BETWEEN (p_received_us / 1000000 - 7 * 86400) * 1000000 AND (p_received_us / 1000000 + 300) * 1000000
        THEN format('event_us %s is not within 7 days before and 5 minutes after the arrival, %s', p_event_us, p_received_us)
END;
