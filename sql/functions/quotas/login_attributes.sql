-- radmeter.login_attributes(vendor, swapped, total, in, out, up, down): the attributes of an Access-Accept that limit a
-- session at a router of a vendor.
--   swapped         the router counts input and output the other way round
--   total, in, out  octets that the session may use; up, down: bit/s. NULL: no such limit
-- Returns attributes and values, as FreeRADIUS reads them. 64-bit numbers are split here: FreeRADIUS cuts them silently.
-- A limit is never sent as 0, which means none to some routers. Of kilobytes, 2^32 - 1 may mean none, so less is sent.
-- src/radmeter/quotas/limits.py does the same for a CoA-Request.
CREATE OR REPLACE FUNCTION radmeter.login_attributes(
    p_vendor text, p_swapped boolean, p_total bigint, p_in bigint, p_out bigint, p_up bigint, p_down bigint)
RETURNS TABLE (attribute text, value text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH given AS (
        SELECT CASE WHEN p_swapped THEN p_out ELSE p_in END AS octets_in,
               CASE WHEN p_swapped THEN p_in ELSE p_out END AS octets_out,
               CASE WHEN p_swapped THEN p_down ELSE p_up END AS up,
               CASE WHEN p_swapped THEN p_up ELSE p_down END AS down
    ), valued AS (
        SELECT each.attribute, each.gigawords_attribute, each.unit,
               CASE each.purpose WHEN 'octets_total' THEN p_total WHEN 'octets_in' THEN octets_in
                   WHEN 'octets_out' THEN octets_out WHEN 'speed_up' THEN up WHEN 'speed_down' THEN down
                   WHEN 'rate_limit' THEN coalesce(up, down) END AS amount,
               -- 0 is a direction without a limit.
               coalesce(up, 0) || '/' || coalesce(down, 0) AS rates
        FROM radmeter.vendor_attributes() AS each, given
        WHERE each.vendor = p_vendor AND each.at_login
    ), numbered AS (
        SELECT valued.*, greatest(amount, 1) AS octets,
               CASE unit WHEN 'kbyte' THEN least(greatest(amount / 1024, 1), 4294967294)
                   WHEN 'kbit/s' THEN least(greatest(amount / 1000, 1), 4294967295)
                   WHEN 'bit/s' THEN least(greatest(amount, 1), 4294967295) END AS number
        FROM valued WHERE amount IS NOT NULL
    )
    SELECT numbered.attribute,
           CASE unit WHEN 'mikrotik' THEN rates WHEN 'octets'
               THEN CASE WHEN gigawords_attribute IS NULL THEN least(octets, 4294967295) ELSE octets & 4294967295 END::text ELSE number::text END
    FROM numbered
    UNION ALL
    SELECT gigawords_attribute,
           CASE WHEN starts_with(gigawords_attribute, 'Attr-26.') THEN '0x' || lpad(to_hex(octets >> 32), 8, '0')
                ELSE (octets >> 32)::text END
    FROM numbered WHERE gigawords_attribute IS NOT NULL;
END;
$$;
