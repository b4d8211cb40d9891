-- radmeter.create_incoming(): makes the temporary table that holds a batch while radmeter.ingest applies it.
-- A temporary table writes no WAL. This one is emptied at the end of each transaction.
-- Called by radmeter.prepare_table only.
CREATE OR REPLACE FUNCTION radmeter.create_incoming() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    CREATE TEMPORARY TABLE incoming (
        seq                  bigint,
        segment              integer,
        round                integer,   -- NULL: Accounting-On, Accounting-Off
        status               text,
        uid                  text,
        session_id           text,
        username             text,
        sent_username        text,      -- the name as it was sent, if it got a realm: see radmeter.qualify_names
        realm                text,
        nas_ip               inet,
        nas_port_id          text,
        nas_port_type        text,
        event_time           timestamptz,
        belongs_from         timestamptz, -- the record does not belong to a session that stopped before this
        start_time           timestamptz,
        stamped              boolean,   -- event_time is the router's Event-Timestamp
        received_at          timestamptz,
        session_time         bigint,
        authentic            text,
        connect_info         text,
        input_octets         bigint,
        output_octets        bigint,
        gigawords            boolean,
        called_station_id    text,
        calling_station_id   text,
        terminate_cause      text,
        service_type         text,
        framed_protocol      text,
        framed_ip            inet,
        framed_ipv6          inet,
        framed_ipv6_prefix   inet,
        framed_interface_id  text,
        delegated_ipv6_prefix inet,
        class                text,
        router_id            bigint,
        interim_interval     integer,
        skew_seconds         bigint,
        usage_date           date,
        period_start         date,
        stop_stamp           bigint,    -- of a Stop: its Event-Timestamp as the router sent it, seconds since 1970
        router_mac           macaddr,   -- these four name the router: see radmeter.match_router
        nas_mac              macaddr,
        nas_identifier       text,
        router_ip            inet,
        client_ip            inet,      -- the RADIUS client that sent the packet
        received_us          bigint,    -- the arrival as it was sent
        pairs                json,      -- the packet's attributes, if they were sent
        component            text,      -- equal for records that may be of one session: see radmeter.label_components
        touches              bigint[],  -- routers of sessions that the record may be of: see radmeter.drop_idle_reboots
        open_uid             text,      -- acctuniqueid of the open session, if radmeter.find_open has found it; else uid
        shown_mac            macaddr,   -- router_mac, else nas_mac: tells the session
        open_id              bigint,    -- radacctid of the open session, if radmeter.find_open has found it
        waits                boolean,   -- a Stop whose month has no partition, applied as an interim
        first_received_at    timestamptz, -- the packet was sent again, and received_at is the arrival of the last copy
        over_at              timestamptz, -- when the session was over that the record begins: see radmeter.earlier_sessions
        refused              text       -- why the record is set aside: see radmeter.refuse_unbelieved
    ) ON COMMIT DELETE ROWS;
$$;
