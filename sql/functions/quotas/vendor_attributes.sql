-- radmeter.vendor_attributes(): the RADIUS attributes by which routers of each vendor take limits and speeds.
--   purpose              octets_total, octets_in, octets_out: what a session may use, counted from its start
--                        speed_up, speed_down: a speed in one direction; rate_limit: both in one text
--                        role: the name of a group, role or policy that the router has
--   attribute            its name in FreeRADIUS 3.2's dictionaries. Attr-26.V.N: attribute N of vendor V is not in them,
--                        and its value is hexadecimal
--   gigawords_attribute  has the upper 32 bits; NULL: there is none. It is sent with 0, too: CoovaChilli keeps the one of
--                        an earlier reply otherwise
--   unit                 octets, kbyte (1024 octets), bit/s, kbit/s (1000 bit/s), mikrotik (up/down in bit/s), text: the
--                        name. What follows text: stands before the name
--   at_login             the router takes it in an Access-Accept
--   in_coa               the router takes it in a CoA-Request
-- In and up are from the user, out and down are to the user. Routers of meraki, aruba and cisco take no numbers: only the
-- role slows a user down there.
CREATE OR REPLACE FUNCTION radmeter.vendor_attributes()
RETURNS TABLE (vendor text, purpose text, attribute text, gigawords_attribute text, unit text, at_login boolean, in_coa boolean)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    VALUES
        ('mikrotik', 'octets_total', 'Mikrotik-Total-Limit', 'Mikrotik-Total-Limit-Gigawords', 'octets', true, false),
        ('mikrotik', 'octets_in', 'Mikrotik-Recv-Limit', 'Mikrotik-Recv-Limit-Gigawords', 'octets', true, true),
        ('mikrotik', 'octets_out', 'Mikrotik-Xmit-Limit', 'Mikrotik-Xmit-Limit-Gigawords', 'octets', true, true),
        ('mikrotik', 'rate_limit', 'Mikrotik-Rate-Limit', NULL, 'mikrotik', true, true),
        ('chilli', 'octets_total', 'ChilliSpot-Max-Total-Octets', 'Attr-26.14559.23', 'octets', true, true),
        ('chilli', 'octets_in', 'ChilliSpot-Max-Input-Octets', 'Attr-26.14559.21', 'octets', true, true),
        ('chilli', 'octets_out', 'ChilliSpot-Max-Output-Octets', 'Attr-26.14559.22', 'octets', true, true),
        ('chilli', 'speed_up', 'ChilliSpot-Bandwidth-Max-Up', NULL, 'kbit/s', true, true),
        ('chilli', 'speed_down', 'ChilliSpot-Bandwidth-Max-Down', NULL, 'kbit/s', true, true),
        ('generic', 'speed_up', 'WISPr-Bandwidth-Max-Up', NULL, 'bit/s', true, true),
        ('generic', 'speed_down', 'WISPr-Bandwidth-Max-Down', NULL, 'bit/s', true, true),
        -- So spelled by the vendor.
        ('cambium', 'octets_total', 'Cambium-Traffic-Quota-Limit-Total', 'Cambium-Traffic-Quota-Limit-Total-Gigwords',
         'octets', true, false),
        ('cambium', 'octets_in', 'Cambium-Traffic-Quota-Limit-Up', 'Cambium-Traffic-Quota-Limit-Up-Gigwords',
         'octets', true, false),
        ('cambium', 'octets_out', 'Cambium-Traffic-Quota-Limit-Down', 'Cambium-Traffic-Quota-Limit-Down-Gigwords',
         'octets', true, false),
        ('cambium', 'speed_up', 'WISPr-Bandwidth-Max-Up', NULL, 'bit/s', true, false),
        ('cambium', 'speed_down', 'WISPr-Bandwidth-Max-Down', NULL, 'bit/s', true, false),
        -- The unit of Ruckus-Max-DL-UL-Quota is in no document that we know of.
        ('ruckus', 'speed_up', 'WISPr-Bandwidth-Max-Up', NULL, 'bit/s', true, false),
        ('ruckus', 'speed_down', 'WISPr-Bandwidth-Max-Down', NULL, 'bit/s', true, false),
        ('unifi', 'speed_up', 'WISPr-Bandwidth-Max-Up', NULL, 'bit/s', true, false),
        ('unifi', 'speed_down', 'WISPr-Bandwidth-Max-Down', NULL, 'bit/s', true, false),
        ('huawei', 'octets_total', 'Huawei-Remanent-Volume', NULL, 'kbyte', true, false),
        ('huawei', 'speed_up', 'Huawei-Input-Average-Rate', NULL, 'bit/s', true, true),
        ('huawei', 'speed_up', 'Huawei-Input-Peak-Rate', NULL, 'bit/s', true, true),
        ('huawei', 'speed_down', 'Huawei-Output-Average-Rate', NULL, 'bit/s', true, true),
        ('huawei', 'speed_down', 'Huawei-Output-Peak-Rate', NULL, 'bit/s', true, true),
        -- A group policy of Meraki, a role of Aruba, a policy of Cisco's ISG.
        ('mikrotik', 'role', 'Mikrotik-Group', NULL, 'text:', true, false),
        ('generic', 'role', 'Filter-Id', NULL, 'text:', true, true),
        ('meraki', 'role', 'Filter-Id', NULL, 'text:', true, false),
        ('aruba', 'role', 'Aruba-User-Role', NULL, 'text:', true, true),
        ('cisco', 'role', 'Cisco-AVPair', NULL, 'text:ip:sub-qos-policy-in=', true, false),
        ('cisco', 'role', 'Cisco-AVPair', NULL, 'text:ip:sub-qos-policy-out=', true, false);
END;
$$;
