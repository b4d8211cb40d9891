-- radmeter.arrival_allowance(stamped): how much later than its true event time a packet's event time may be.
-- Without a usable Event-Timestamp the event time comes from the arrival, so a retransmission looks later than it is.
-- Routers retransmit a packet for less than 60 s.
CREATE OR REPLACE FUNCTION radmeter.arrival_allowance(p_stamped boolean) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_stamped THEN interval '0' ELSE interval '60 seconds' END;
