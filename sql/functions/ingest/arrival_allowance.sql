-- radmeter.arrival_allowance(stamped): how much later than its event a packet may look.
-- Where the event is known by its arrival only (the router sends no usable Event-Timestamp), a packet sent again looks
-- later than it is: 60 s is more than routers go on sending one.
CREATE OR REPLACE FUNCTION radmeter.arrival_allowance(p_stamped boolean) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_stamped THEN interval '0' ELSE interval '60 seconds' END;
