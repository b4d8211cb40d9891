-- radmeter.refuse_unbelieved(): marks the records of the batch that name a router which their RADIUS client may not name
-- (routers.clients), with the reason. radmeter.unpack_records sets them aside. They change nothing: no session is counted
-- or closed. Such a record has found its router, so it has discovered none.
-- SQLSTATE RM011 if one of them is without its packet's attributes ("pairs"). DETAIL is a JSON object: the numbers (seq)
-- for each reason. The caller sends the batch again, with these packets as ones to set aside, since only the caller has
-- their attributes. It then adds the attributes to all records for a while. Else PostgreSQL would write this error into
-- its log for each batch of a flood.
-- Called by radmeter.unpack_records only. Reads routers. Writes pg_temp.incoming.
CREATE OR REPLACE FUNCTION radmeter.refuse_unbelieved() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_records bigint;
    v_seqs_of_reasons jsonb;
BEGIN
    WITH refused AS (
        UPDATE pg_temp.incoming AS record SET refused = format(
            'router #%s "%s" is bound to the RADIUS clients %s, and %s: '
            '"radmeter routers set ''#%s'' --clients .." changes that, then "radmeter rejected retry" counts the packet',
            router.id, router.name, array_to_string(router.clients, ', '),
            CASE WHEN client_ip IS NULL THEN 'the packet does not say from which client it came'
                 ELSE format('the packet came from %s', host(radmeter.plain_address(client_ip))) END,
            router.id)
        FROM public.routers AS router
        WHERE router.id = record.router_id AND NOT radmeter.may_name_router(client_ip, router.clients)
        RETURNING record.seq, record.refused, record.pairs
    ), grouped AS (
        SELECT refused, jsonb_agg(seq) AS seqs, count(*) AS records, count(pairs) AS with_pairs FROM refused GROUP BY refused
    )
    SELECT sum(records), jsonb_object_agg(refused, seqs) INTO v_records, v_seqs_of_reasons
    FROM grouped HAVING sum(with_pairs) < sum(records);
    IF v_records IS NOT NULL THEN
        RAISE EXCEPTION '% records are of RADIUS clients that may not name the router', v_records
            USING ERRCODE = 'RM011', DETAIL = v_seqs_of_reasons::text;
    END IF;
END;
$$;
