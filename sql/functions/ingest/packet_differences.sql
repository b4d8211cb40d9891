-- radmeter.packet_differences(pairs, received_at, record): which fields of an accounting record are not what a packet's
-- attributes say. packet/record.py makes the record. This function makes it a second time, by the same rules, so that
-- a caller cannot have other values counted than those of the packet that was stored.
--   pairs        the packet's attributes: [[name, value], ..]
--   received_at  its arrival
--   record       the record, as radmeter.ingest takes it; seq, received_us and what is no field of it are not compared
-- Returns the names of the fields that differ; NULL if the record is that of the packet.
CREATE OR REPLACE FUNCTION radmeter.packet_differences(p_pairs json, p_received_at timestamptz, p_record jsonb)
RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_values jsonb;   -- the first value of each attribute; text that came as octets is restored
    v_octets jsonb;   -- text that came as octets: the octets in hexadecimal, without NULs at the end
    v_bad text;
    v_uid text;
    v_source text;    -- address of the RADIUS client
    v_nas_ip text;
    v_received_us bigint := extract(epoch FROM p_received_at) * 1000000;
    v_date text[];
    v_stamp numeric;  -- Event-Timestamp
    v_stamped boolean;
    v_delay bigint;
    v_mac macaddr;
    v_nas_mac macaddr;
    v_record jsonb;
BEGIN
    IF json_typeof(p_pairs) <> 'array' THEN
        RETURN 'pairs';
    END IF;
    SELECT coalesce(jsonb_object_agg(name, value), '{}') INTO v_values
    FROM (SELECT DISTINCT ON (pair ->> 0) pair ->> 0 AS name, pair ->> 1 AS value
          FROM json_array_elements(p_pairs) WITH ORDINALITY AS element (pair, place)
          WHERE pair ->> 0 IS NOT NULL ORDER BY pair ->> 0, place) AS first;
    SELECT coalesce(jsonb_object_agg(name, regexp_replace(regexp_replace(v_values ->> octets_name, '^0x', ''), '(00)+$', '')), '{}')
    INTO v_octets
    FROM (VALUES ('Tmp-Octets-0', 'User-Name'), ('Tmp-Octets-1', 'Acct-Session-Id'), ('Tmp-Octets-2', 'Called-Station-Id'),
                 ('Tmp-Octets-3', 'Calling-Station-Id'), ('Tmp-Octets-4', 'NAS-Identifier'), ('Tmp-Octets-5', 'NAS-Port-Id'),
                 ('Tmp-Octets-6', 'Acct-Multi-Session-Id'), ('Tmp-Octets-7', 'Connect-Info')) AS text_as_octets (octets_name, name)
    WHERE v_values ->> octets_name ~ '^(0x)?([0-9A-Fa-f]{2})*$';
    v_values := v_values || (SELECT coalesce(jsonb_object_agg(key, radmeter.text_of_octets(decode(value, 'hex'))), '{}')
                             FROM jsonb_each_text(v_octets));

    SELECT string_agg(name, ', ') INTO v_bad
    FROM unnest(ARRAY['Acct-Delay-Time', 'Acct-Session-Time', 'Acct-Interim-Interval', 'Acct-Input-Octets',
                      'Acct-Output-Octets', 'Acct-Input-Gigawords', 'Acct-Output-Gigawords']) AS name
    WHERE CASE WHEN v_values ->> name ~ '^[0-9]{1,10}$' THEN (v_values ->> name)::bigint >= 1::bigint << 32
               ELSE v_values ->> name IS NOT NULL END;
    IF v_bad IS NOT NULL THEN
        RETURN v_bad;
    END IF;

    v_source := coalesce(nullif(v_values ->> 'Tmp-IP-Address-0', ''), v_values ->> 'Tmp-String-0');
    v_nas_ip := coalesce(nullif(v_values ->> 'NAS-IPv6-Address', ''), v_values ->> 'NAS-IP-Address');
    v_mac := radmeter.leading_mac(v_values ->> 'Called-Station-Id', false);
    v_nas_mac := radmeter.leading_mac(v_values ->> 'NAS-Identifier', true);

    -- acctuniqueid: md5 of the octets as they came, with the Class of FreeRADIUS's policy insert_acct_class or without.
    SELECT md5(string_agg(coalesce(octets, decode(v_octets ->> name, 'hex'), convert_to(coalesce(v_values ->> name, ''), 'UTF8')),
                          ',' ORDER BY place))
    INTO v_uid
    FROM (SELECT decode(substr(v_values ->> 'Class', 9, 64), 'hex') AS class
          WHERE v_values ->> 'Class' ~ '^0x61693a(3[0-9]|[46][1-6]){32}([0-9A-Fa-f]{2})*$') AS assigned
    RIGHT JOIN (VALUES (1)) AS one (one) ON true,
    LATERAL (VALUES (1, class IS NULL, 'User-Name', NULL::bytea), (1, class IS NOT NULL, NULL, class),
                    (2, true, 'Acct-Session-Id', NULL), (3, class IS NULL, NULL, convert_to(coalesce(v_nas_ip, ''), 'UTF8')),
                    (4, class IS NULL, 'NAS-Identifier', NULL), (5, class IS NULL, 'NAS-Port-Id', NULL),
                    (6, class IS NULL, 'NAS-Port', NULL)) AS part (place, used, name, octets)
    WHERE used;
    -- `radmeter people erase` keeps the unique id of a packet whose name it has replaced.
    v_uid := coalesce(nullif(v_values ->> 'Radmeter-Unique-Id', ''), v_uid);

    -- Event-Timestamp: the policy's copy in seconds, else the attribute, in seconds or as "Nov 20 2026 10:42:58 UTC".
    v_date := regexp_match(v_values ->> 'Event-Timestamp',
        '^(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\s+(0?[1-9]|[12][0-9]|3[01])\s+([0-9]{4})\s+'
        '([01]?[0-9]|2[0-3]):([0-5]?[0-9]):([0-5]?[0-9])\s+utc$', 'i');
    v_stamp := CASE
        WHEN v_values ->> 'Tmp-Integer-0' ~ '^[0-9]+$' THEN
            CASE WHEN v_values ->> 'Tmp-Integer-0' ~ '^0*[0-9]{1,18}$' THEN (v_values ->> 'Tmp-Integer-0')::numeric END
        WHEN v_values ->> 'Event-Timestamp' ~ '^[0-9]+$' THEN
            CASE WHEN v_values ->> 'Event-Timestamp' ~ '^0*[0-9]{1,18}$' THEN (v_values ->> 'Event-Timestamp')::numeric END
        WHEN v_date[3]::integer > 0 THEN (
            SELECT trunc(extract(epoch FROM (first + v_date[2]::integer - 1)
                + make_time(v_date[4]::integer, v_date[5]::integer, v_date[6]::integer)))
            FROM make_date(v_date[3]::integer,
                           position(lower(v_date[1]) IN 'janfebmaraprmayjunjulaugsepoctnovdec') / 3 + 1, 1) AS first
            -- 30 February is no date.
            WHERE extract(month FROM first) = extract(month FROM first + v_date[2]::integer - 1))
    END;
    v_stamped := coalesce(div(v_received_us, 1000000) - v_stamp BETWEEN -300 AND 7 * 86400, false);
    v_delay := coalesce((v_values ->> 'Acct-Delay-Time')::bigint, 0);

    SELECT jsonb_object_agg(field, v_values -> name) INTO v_record
    FROM (VALUES
        ('session_id', 'Acct-Session-Id'), ('realm', 'Realm'), ('nas_port_type', 'NAS-Port-Type'),
        ('authentic', 'Acct-Authentic'), ('connect_info', 'Connect-Info'), ('called_station_id', 'Called-Station-Id'),
        ('calling_station_id', 'Calling-Station-Id'), ('terminate_cause', 'Acct-Terminate-Cause'),
        ('service_type', 'Service-Type'), ('framed_protocol', 'Framed-Protocol'), ('framed_ip', 'Framed-IP-Address'),
        ('framed_ipv6', 'Framed-IPv6-Address'), ('framed_ipv6_prefix', 'Framed-IPv6-Prefix'),
        ('framed_interface_id', 'Framed-Interface-Id'), ('delegated_ipv6_prefix', 'Delegated-IPv6-Prefix'),
        ('class', 'Class')) AS plain (field, name);
    v_record := v_record || jsonb_build_object(
        'status', CASE WHEN v_values ->> 'Acct-Status-Type' = 'Alive' THEN 'Interim-Update'
                       ELSE v_values ->> 'Acct-Status-Type' END,
        'uid', v_uid,
        'username', nullif(v_values ->> 'User-Name', ''),
        'nas_ip', coalesce(nullif(v_nas_ip, ''), nullif(v_source, ''), '0.0.0.0'),
        'nas_port_id', coalesce(nullif(v_values ->> 'NAS-Port-Id', ''), v_values ->> 'NAS-Port'),
        'event_us', CASE WHEN v_stamped THEN v_stamp * 1000000
                         ELSE v_received_us - CASE WHEN v_delay <= 7 * 86400 THEN v_delay ELSE 0 END * 1000000 END,
        'stamped', v_stamped,
        'session_time', CASE WHEN (v_values ->> 'Acct-Session-Time')::bigint <= 400 * 86400
                             THEN (v_values ->> 'Acct-Session-Time')::bigint END,
        'input_octets', (coalesce(v_values ->> 'Acct-Input-Gigawords', '0')::bigint << 32)
            + (v_values ->> 'Acct-Input-Octets')::bigint,
        'output_octets', (coalesce(v_values ->> 'Acct-Output-Gigawords', '0')::bigint << 32)
            + (v_values ->> 'Acct-Output-Octets')::bigint,
        'gigawords', v_values ?| ARRAY['Acct-Input-Gigawords', 'Acct-Output-Gigawords'],
        'router_mac', v_mac,
        'nas_mac', v_nas_mac,
        'nas_identifier', nullif(v_values ->> 'NAS-Identifier', ''),
        'router_ip', coalesce(nullif(v_nas_ip, ''), nullif(v_source, '')),
        'client_ip', v_source,
        'interim_interval', CASE WHEN (v_values ->> 'Acct-Interim-Interval')::bigint BETWEEN 1 AND 86400
                                 THEN (v_values ->> 'Acct-Interim-Interval')::bigint END,
        'skew_seconds', v_stamp - div(v_received_us, 1000000));
    v_record := v_record || jsonb_build_object('router_key', concat(
        v_record ->> 'router_mac', E'\t', v_record ->> 'nas_mac', E'\t', v_record ->> 'nas_identifier', E'\t',
        v_record ->> 'router_ip'));
    RETURN (SELECT string_agg(key, ', ' ORDER BY key) FROM jsonb_each_text(v_record)
            WHERE value IS DISTINCT FROM p_record ->> key);
END;
$$;
