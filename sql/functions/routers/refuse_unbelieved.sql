-- radmeter.refuse_unbelieved(): refuses the batch if it has records that name a router which their RADIUS client may not
-- name (routers.clients).
-- SQLSTATE RM011; DETAIL is a JSON object with the reason for each seq. The caller sends the batch again with these
-- packets as ones to set aside, since only the caller has their attributes. They change nothing: no session is counted
-- or closed, and no other router is found or discovered by them.
-- Called by radmeter.unpack_records only. Reads pg_temp.incoming, routers.
CREATE OR REPLACE FUNCTION radmeter.refuse_unbelieved() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_reasons jsonb;
BEGIN
    SELECT jsonb_object_agg(record.seq, format(
               'router #%s "%s" is bound to the RADIUS clients %s, and %s: '
               '"radmeter routers set ''#%s'' --clients .." changes that, then "radmeter rejected retry" counts the packet',
               router.id, router.name, array_to_string(router.clients, ', '),
               CASE WHEN client_ip IS NULL THEN 'the packet does not say from which client it came'
                    ELSE format('the packet came from %s', host(client_ip)) END, router.id))
    INTO v_reasons
    FROM pg_temp.incoming AS record JOIN public.routers AS router ON router.id = record.router_id
    WHERE NOT radmeter.may_name_router(client_ip, router.clients);
    IF v_reasons IS NOT NULL THEN
        RAISE EXCEPTION '% records are of RADIUS clients that may not name the router',
            (SELECT count(*) FROM jsonb_object_keys(v_reasons))
            USING ERRCODE = 'RM011', DETAIL = v_reasons::text;
    END IF;
END;
$$;
