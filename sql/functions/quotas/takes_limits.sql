-- radmeter.takes_limits(router_id, limits): whether a CoA-Request can give a session at a router another one of these
-- limits: octets_total, octets_in, octets_out, seconds.
-- The router has a secret, and its vendor has an attribute for that in a CoA-Request. If it is silent, the request waits.
-- Elsewhere the limit of the login stays in force until the session ends.
CREATE OR REPLACE FUNCTION radmeter.takes_limits(p_router_id bigint, p_limits text[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM radmeter.router_coa AS coa
        JOIN radmeter.vendor_profiles() AS profile USING (vendor)
        LEFT JOIN radmeter.router_coa_state AS state USING (router_id)
        WHERE coa.router_id = p_router_id AND coa.secret IS NOT NULL AND profile.takes_coa
          AND (state.coa_works IS NOT FALSE OR state.learned_at <= now() - interval '1 day')
          AND ('seconds' = ANY (p_limits) AND 'Session-Timeout' = ANY (profile.coa_standard)
               OR EXISTS (SELECT FROM radmeter.vendor_attributes() AS known
                          WHERE known.vendor = coa.vendor AND known.in_coa AND known.purpose = ANY (p_limits))));
$$;
