-- radmeter.vendor_profiles(): how the routers of each vendor take Disconnect- and CoA-Requests (RFC 5176).
--   coa_port               where they listen unless radmeter.router_coa says otherwise
--   takes_coa              takes CoA-Requests; false: a Disconnect-Request is sent instead
--   takes_disconnect       takes Disconnect-Requests
--   identity               the attributes that name a session, in their order: a JSON array of sets. The first set is sent
--                          first, the next one once if the router does not know the session by it. What a session does
--                          not have is left out. Values are those that the router sent
--   coa_replaces           a limit that is not in a CoA-Request is none from then on; false: it stays as it was
--   coa_standard           which of Session-Timeout and Idle-Timeout a CoA-Request may have
--   message_authenticator  requests have a Message-Authenticator (RFC 5176 section 3.4)
--   event_timestamp        requests have an Event-Timestamp (RFC 5176 section 6.3)
--   extra                  further attributes of each request, a JSON object
-- The limits in a CoA-Request are those of radmeter.vendor_attributes().
CREATE OR REPLACE FUNCTION radmeter.vendor_profiles()
RETURNS TABLE (vendor text, coa_port integer, takes_coa boolean, takes_disconnect boolean, identity jsonb,
               coa_replaces boolean, coa_standard text[], message_authenticator boolean, event_timestamp boolean, extra jsonb)
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT vendor, coa_port, takes_coa, true, identity::jsonb, vendor = 'chilli', coa_standard::text[], true, true, extra::jsonb
    FROM (VALUES
        -- The hotspot of RouterOS needs Framed-IP-Address.
        ('mikrotik', 3799, true,
         '[["User-Name", "Acct-Session-Id", "Framed-IP-Address"], ["User-Name", "Framed-IP-Address"]]',
         '{Session-Timeout,Idle-Timeout}', '{}'),
        -- CoovaChilli drops a request without User-Name, without an answer. It ends all sessions of a name that comes
        -- without Acct-Session-Id, so there is no second set. Its NAK has no Error-Cause.
        ('chilli', 3799, true,
         '[["User-Name", "Acct-Session-Id"]]',
         '{Session-Timeout,Idle-Timeout}', '{}'),
        ('cambium', 3799, false,
         '[["User-Name", "Calling-Station-Id", "Acct-Session-Id"], ["User-Name", "Calling-Station-Id"]]',
         '{}', '{}'),
        -- A firmware of ZoneDirector wants the session's Service-Type as well.
        ('ruckus', 3799, false,
         '[["User-Name", "Acct-Session-Id", "Calling-Station-Id"],
           ["User-Name", "Acct-Session-Id", "Calling-Station-Id", "Service-Type"]]',
         '{}', '{}'),
        -- The access point takes it, not the controller.
        ('unifi', 3799, false,
         '[["User-Name", "Calling-Station-Id", "Acct-Session-Id"], ["Calling-Station-Id"]]',
         '{}', '{}'),
        -- The access point takes it. Splash sign-on: Meraki's cloud.
        ('meraki', 3799, false,
         '[["User-Name", "Acct-Session-Id", "Calling-Station-Id"], ["Calling-Station-Id"]]',
         '{}', '{}'),
        ('aruba', 3799, true,
         '[["User-Name", "NAS-IP-Address", "Acct-Session-Id", "Calling-Station-Id"],
           ["User-Name", "Framed-IP-Address", "Calling-Station-Id"]]',
         '{Session-Timeout}', '{}'),
        -- A WLC ignores CoA-Requests and takes Disconnect-Requests; then that is remembered.
        ('cisco', 1700, true,
         '[["User-Name", "NAS-IP-Address", "Acct-Session-Id", "Calling-Station-Id"],
           ["Calling-Station-Id", "Service-Type"]]',
         '{Session-Timeout,Idle-Timeout}', '{}'),
        ('huawei', 3799, true,
         '[["User-Name", "NAS-IP-Address", "Acct-Session-Id", "Framed-IP-Address"], ["Acct-Session-Id"]]',
         '{Session-Timeout,Idle-Timeout}', '{}'),
        ('generic', 3799, true,
         '[["User-Name", "NAS-IP-Address", "NAS-IPv6-Address", "NAS-Identifier", "Acct-Session-Id",
            "Framed-IP-Address", "Calling-Station-Id"],
           ["User-Name", "Acct-Session-Id"]]',
         '{Session-Timeout,Idle-Timeout}', '{}')
    ) AS profile (vendor, coa_port, takes_coa, identity, coa_standard, extra);
$$;
