"""Who may see and do what on the pages: keys, cookies, forms, and the operator's proxy."""

import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from support.http_server import HttpServer, add_key, serving
from support.processes import until
from support.servers import Connection
from support.shipping import fill, ship
from support.visitor import Visitor

from radmeter.api.reads.states import STATES
from radmeter.keys import store


def test_without_a_login_every_page_leads_to_it(pages: HttpServer) -> None:
    visitor = Visitor(pages)
    for path in ("/", "/routers", "/alerts", "/site", "/site/statements/2026-01.html", "/routers/1"):
        answer = visitor.get(path)
        assert (answer.status, answer.headers["location"].partition("?")[0]) == (303, "/login"), path
        assert b"ap-0" not in answer.body
    assert visitor.get("/noc/history").status == 401
    assert visitor.get("/noc/parts/alerts", **{"HX-Request": "true"}).status == 401
    assert pages.get("/stream").status == 401


def test_each_role_has_its_pages(pages: HttpServer, keys: Mapping[str, str]) -> None:
    want = {
        "reader": {"/": 200, "/routers": 200, "/site": 403, "/noc/history": 200},
        "noc": {"/": 200, "/routers": 200, "/site": 403, "/noc/history": 200},
        "tenant:Hotel Adler": {
            "/": 303,
            "/routers": 403,
            "/user?name=user5": 403,
            "/site": 200,
            "/noc/history": 403,
        },
    }
    for role, paths in want.items():
        visitor = Visitor(pages)
        assert visitor.log_in(keys[role]).status == 303
        assert {path: visitor.get(path).status for path in paths} == paths, role
        if role.startswith("tenant"):
            # It says where such a key belongs, and leads there.
            refusal = visitor.get("/routers").body
            assert b"this page is for the NOC" in refusal
            assert b'<a href="/site">To your routers' in refusal
    refused = Visitor(pages).log_in(keys["billing"])
    assert (refused.status, b"has no pages" in refused.body) == (403, True)


def test_the_cookie_is_for_the_server_only_and_cannot_be_made(
    pages: HttpServer, keys: Mapping[str, str]
) -> None:
    visitor = Visitor(pages)
    answer = visitor.log_in(keys["noc"])
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    assert keys["noc"] not in cookie
    value = visitor.cookies["radmeter-login"]
    for other in (value[:-4] + "AAAA", "A" + value[1:], "", "x", "é", value * 9):
        visitor.cookies["radmeter-login"] = other.encode("latin-1", "ignore").decode("latin-1")
        assert visitor.get("/").status == 303, other


def test_a_revoked_key_ends_its_logins(pages: HttpServer, keys: Mapping[str, str], scene: Connection) -> None:
    visitor = Visitor(pages)
    visitor.log_in(keys["noc"])
    assert visitor.get("/").status == 200
    store.revoke(scene, "noc")
    until("the login has ended", lambda: visitor.get("/").status == 303, 20)


def test_a_login_that_was_ended_holds_for_nobody_who_has_its_cookie(
    pages: HttpServer, keys: Mapping[str, str], pages_dsn: str, tmp_path: Path
) -> None:
    """Neither here nor at another server with the same key file. Other logins of the key go on."""
    copy, other = Visitor(pages), Visitor(pages)
    visitor = Visitor(pages)
    visitor.log_in(keys["noc"])
    other.log_in(keys["noc"])
    copy.cookies = dict(visitor.cookies)
    assert copy.get("/").status == 200
    second = tmp_path / "second"
    shutil.copytree(tmp_path / "http", second / "http")
    with serving(pages_dsn, second) as server:
        elsewhere = Visitor(server)
        elsewhere.cookies = dict(visitor.cookies)
        assert elsewhere.get("/").status == 200
        assert visitor.post("/logout", {"csrf": visitor.token()}).status == 303
        assert copy.get("/").status == 303
        until("it has ended there, too", lambda: elsewhere.get("/").status == 303, 20)
    assert other.get("/").status == 200
    assert copy.log_in(keys["noc"]).status == 303
    assert copy.get("/").status == 200


def test_pages_have_a_rate(pages: HttpServer, scene: Connection) -> None:
    """That of the key, four times: a page has parts."""
    visitor = Visitor(pages)
    visitor.log_in(add_key(scene, "slow", "reader", rate="3/h"))
    paths = ("/", "/routers", "/noc/history", "/alerts", "/noc/parts/sites", "/sites")
    answers = [visitor.get(path) for path in (*paths, *paths, *paths)]
    assert [each.status for each in answers[:12]] == [200] * 12
    assert {each.status for each in answers[12:]} == {429}
    assert b"too many pages" in answers[12].body
    assert answers[12].headers["content-type"].startswith("text/html")
    assert int(answers[12].headers["retry-after"]) >= 1
    assert visitor.post("/preferences", {"csrf": "x"}).status == 429
    assert pages.request("GET", "/healthz").status == 200


def test_the_log_says_whose_page_and_action_it_was(pages: HttpServer, keys: Mapping[str, str]) -> None:
    visitor = Visitor(pages)
    visitor.log_in(keys["noc"])
    token = visitor.token()
    assert visitor.post("/alerts/1/acknowledge", {"csrf": token}).status == 303
    assert visitor.get("/noc/history").status == 200
    assert visitor.post("/preferences", {"csrf": token, "zone": "UTC"}).status == 303
    metrics = pages.request(
        "GET", "/metrics", keys["reader"], headers={"X-Forwarded-For": "203.0.113.9"}
    ).status
    assert metrics == 200
    wanted = ("POST /alerts/1/acknowledge 303", "GET /noc/history 200", "POST /preferences 303")
    lines = (*(f"key=noc {each}" for each in wanted), "key=reader GET /metrics 200")
    until("all of them are in the log", lambda: all(line in pages.text() for line in lines), 20)


def test_a_form_of_another_site_or_without_its_token_does_nothing(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    visitor, other = Visitor(pages), Visitor(pages)
    visitor.log_in(keys["noc"])
    other.log_in(keys["reader"])
    token = visitor.token()
    path = "/alerts/1/acknowledge"
    assert visitor.post(path, {}).status == 403
    assert visitor.post(path, {"csrf": "00" * 32}).status == 403
    assert visitor.post(path, {"csrf": other.token()}).status == 403
    assert visitor.post(path, {"csrf": token}, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    assert visitor.post(path, {"csrf": token}, Origin="https://evil.example").status == 403
    assert visitor.get(path).status == 405
    assert scene.execute("SELECT count(*) FROM radmeter.alerts WHERE acked_at IS NOT NULL").fetchone() == (0,)
    assert visitor.post(path, {"csrf": token}).status == 303
    assert scene.execute("SELECT count(*) FROM radmeter.alerts WHERE acked_at IS NOT NULL").fetchone() == (1,)


def test_every_form_needs_its_token(pages: HttpServer, keys: Mapping[str, str], scene: Connection) -> None:
    """Without one nobody is logged in or out, nothing is set, and nothing is changed."""
    visitor = Visitor(pages)
    visitor.log_in(keys["noc"])
    login = visitor.cookies["radmeter-login"]
    form = {"zone": "Asia/Tokyo", "name": "mine", "hours": "1", "key": keys["noc"]}
    paths = ("/alerts/1/acknowledge", "/alerts/1/mute", "/routers/60/claim", "/sessions/1/disconnect")
    for path in (*paths, "/preferences", "/logout", "/login"):
        answer = visitor.post(path, form)
        assert (answer.status, "set-cookie" in answer.headers) == (403, False), path
    assert visitor.cookies["radmeter-login"] == login
    changed = scene.execute(
        "SELECT (SELECT count(*) FROM radmeter.alert_mutes), (SELECT count(*) FROM radmeter.disconnect_queue),"
        " (SELECT status FROM routers WHERE id = 60)"
    ).fetchone()
    assert changed == (0, 0, "discovered")


@pytest.mark.parametrize(
    "path", ["/alerts/1/acknowledge", "/alerts/1/mute", "/routers/60/claim", "/sessions/1/disconnect"]
)
def test_a_reader_changes_nothing(pages: HttpServer, keys: Mapping[str, str], path: str) -> None:
    visitor = Visitor(pages)
    visitor.log_in(keys["reader"])
    form = {"csrf": visitor.token(), "name": "mine", "hours": "1"}
    assert visitor.post(path, form).status == 403
    assert b"Acknowledge" not in visitor.get("/alerts").body


def test_wrong_keys_are_slowed(pages: HttpServer, keys: Mapping[str, str]) -> None:
    visitor = Visitor(pages)
    token = visitor.token("/login")
    answers = [
        visitor.post("/login", {"csrf": token, "key": f"rm_wrong{number}"}).status for number in range(25)
    ]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert "rm_wrong" not in pages.text()


def test_a_login_leads_to_no_other_site(pages: HttpServer, keys: Mapping[str, str]) -> None:
    for back in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\r\nX: y",
    ):
        visitor = Visitor(pages)
        answer = visitor.post("/login", {"csrf": visitor.token("/login"), "key": keys["noc"], "back": back})
        assert answer.headers["location"] == "/", back


def test_whom_the_proxy_names_needs_no_key(pages_dsn: str, tmp_path: Path, scene: Connection) -> None:
    proxied = {"RADMETER_HTTP_PROXIES": "127.0.0.1/32", "RADMETER_HTTP_PROXY_ROLE": "noc"}
    with serving(pages_dsn, tmp_path, **proxied) as server:
        # So does everybody who may log in to this machine.
        assert "every program and user of this machine may name itself" in server.text()
        visitor = Visitor(server, X_Forwarded_User="alice", X_Forwarded_Proto="https")
        answer = visitor.get("/")
        assert answer.status == 200
        assert b"alice" in answer.body
        assert b"Log out" not in answer.body
        assert "Secure" in answer.headers["set-cookie"]
        assert "__Host-radmeter-visit=" in answer.headers["set-cookie"]
        visitor.cookies = {f"__Host-{name}": value for name, value in visitor.cookies.items()}
        assert visitor.post("/alerts/1/acknowledge", {"csrf": visitor.token()}).status == 303
        assert scene.execute("SELECT acked_by FROM radmeter.alerts WHERE id = 1").fetchone() == (
            "user alice",
        )
        for name in ("", " ", "x" * 101, "a\tb"):
            assert Visitor(server, X_Forwarded_User=name).get("/").status == 303, name


def test_nobody_else_names_a_user(pages_dsn: str, tmp_path: Path) -> None:
    """Neither an address that is no proxy, nor a proxy for which no role is set."""
    for settings in (
        {"RADMETER_HTTP_PROXY_ROLE": "noc"},
        {"RADMETER_HTTP_PROXIES": "10.0.0.0/8", "RADMETER_HTTP_PROXY_ROLE": "noc"},
        {"RADMETER_HTTP_PROXIES": "127.0.0.1/32"},
    ):
        with serving(pages_dsn, tmp_path, **settings) as server:
            assert "may name itself" not in server.text()
            assert Visitor(server, X_Forwarded_User="alice").get("/").status == 303, settings


def test_pages_say_what_is_wrong_and_no_more(pages: HttpServer, keys: Mapping[str, str]) -> None:
    visitor = Visitor(pages)
    visitor.log_in(keys["noc"])
    for path, status in {
        "/routers/999": 404,
        "/routers/99999999999999999999": 404,
        "/routers?state=odd": 400,
        "/routers?cursor=odd": 400,
        "/routers?q=%00": 400,
        "/routers?q=%25_%5C%27": 200,
        "/user?name=nobody": 404,
        "/sessions?router=nobody": 404,
        "/sessions?username=%00": 400,
        "/quotas?status=odd": 400,
        "/search?q=" + "x" * 300: 400,
        "/static/x/../../app.py": 404,
        "/static/x/%2e%2e/app.py": 404,
        "/static/x/..%2f..%2fapp.py": 404,
    }.items():
        answer = visitor.get(path)
        assert answer.status == status, (path, answer.status)
        assert b"Traceback" not in answer.body
        assert "unsafe" not in answer.headers["content-security-policy"]


def test_pages_go_on_where_they_ended(pages: HttpServer, keys: Mapping[str, str], scene: Connection) -> None:
    scene.execute(
        "INSERT INTO routers (name, status) SELECT 'more-' || lpad(number::text, 4, '0'), 'active'"
        " FROM generate_series(1, 230) AS number"
    )
    visitor = Visitor(pages)
    visitor.log_in(keys["noc"])
    path, seen, states = "/routers", [], []
    for _ in range(20):
        body = visitor.get(path).body.decode()
        seen += re.findall(r'<th scope="row"><a id="router-\d+" href="/routers/(\d+)">', body)
        states += re.findall(r'<td class="state"><span class="badge (\w+)">', body)
        # Rows that come meanwhile move nothing.
        scene.execute("INSERT INTO routers (name, status) VALUES (gen_random_uuid()::text, 'active')")
        following = re.search(r'rel="next" href="([^"]+)"', body)
        if following is None:
            break
        path = following[1].replace("&amp;", "&")
    # Those in trouble first, though they are read in parts.
    assert states == sorted(states, key=STATES.index)
    assert set(states) == set(STATES)
    assert len(seen) == len(set(seen))
    assert len(seen) >= 271


def test_a_list_of_what_is_found_that_ends_says_so(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    scene.execute(
        "INSERT INTO subscribers (username, plan_id) SELECT 'guest' || n, 301 FROM generate_series(1, 21) AS n"
    )
    visitor = Visitor(pages)
    visitor.log_in(keys["reader"])

    def said(text: str) -> int:
        return visitor.get(f"/search?q={text}").body.decode().count("The first 20: give more")

    # Users; users and routers; users of which there are fewer.
    assert [said("guest"), said("ap-0"), said("guest2"), said("")] == [1, 1, 0, 0]


def test_a_device_is_found_however_its_mac_is_spelled(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    spellings = (
        "02-AA-BB-CC-DD-EF",
        "02:aa:bb:cc:dd:ef",
        "02aa.bbcc.ddeF",
        "02AABBCCDDEF",
        "02aa:bbcc:ddef ",
    )
    for number, spelling in enumerate(spellings, 1):
        scene.execute("UPDATE radacct SET callingstationid = %s WHERE radacctid = %s", (spelling, number))
    visitor = Visitor(pages)
    visitor.log_in(keys["reader"])
    for asked in spellings[:4]:
        body = visitor.get(f"/search?{urlencode({'q': asked})}").body.decode()
        assert len(re.findall(r'id="user-of-\d+"', body)) == len(spellings), asked


def test_a_router_of_a_lone_stop_has_a_last_packet(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection, database: str, tmp_path: Path
) -> None:
    # Nobody knows the router, and there was no Start: no session is open, and nothing watches it.
    fill(tmp_path / "journal", range(1))
    ship(tmp_path / "journal", database)
    (router,) = scene.execute(
        "SELECT id, (SELECT count(*) FROM radmeter.router_watch WHERE router_id = id) FROM routers"
        " WHERE mac = 'AA-BB-CC-DD-EE-FF'"
    ).fetchall()
    number, watched = router
    assert watched == 0

    def items(path: str) -> list[dict[str, str]]:
        found = pages.get(path, keys["reader"]).json()["items"]
        assert isinstance(found, list)
        return found

    (session,) = items(f"/sessions?router={number}")
    assert session["stopped_at"]
    assert session["updated_at"] == session["stopped_at"]
    assert items(f"/sessions?router={number}&open=true") == []
    (day,) = items(f"/routers/{number}/days")
    counted_at = datetime.fromisoformat(day["last_updated"]).replace(microsecond=0)
    assert counted_at - datetime.fromisoformat(session["stopped_at"]) < timedelta(minutes=5)
    visitor = Visitor(pages)
    visitor.log_in(keys["reader"])
    for path, place in (
        ("/routers?q=AA-BB-CC-DD-EE-FF", 'data-label="Last packet" class="when">'),
        (f"/routers/{number}", "<dt>Last packet</dt><dd>"),
    ):
        after = visitor.get(path).body.decode().partition(place)[2]
        assert after.startswith(f'<time datetime="{counted_at.isoformat()}"'), (path, after[:80])


def test_a_router_is_found_by_each_of_its_names(pages: HttpServer, keys: Mapping[str, str]) -> None:
    visitor = Visitor(pages)
    visitor.log_in(keys["reader"])

    def found(text: str) -> list[str]:
        body = visitor.get(f"/routers?{urlencode({'q': text})}").body.decode()
        return re.findall(r'id="router-(\d+)"', body)

    for text in ("02:00:00:00:00:05", "02-00-00-00-00-05", "0200.0000.0005", "10.1.0.5", "AP-005"):
        assert found(text) == ["5"], text
    # A whole address finds no longer one, and a part of one finds all that have it.
    assert found("10.1.0.4") == ["4"]
    assert set(found("10.1.0.4")) < set(found("1.0.4"))
    assert found("00:00:60") == ["60"]
    assert found("ap-new") == ["60"]
    assert found("fe80::1%eth0") == found("::") == []


def test_open_alerts_begin_with_the_gravest_and_go_on(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    scene.execute(
        "INSERT INTO radmeter.alerts (rule, kind, severity, username, began_at, fired_at, detail)"
        " SELECT 'quota', 'quota', (ARRAY['info', 'warning', 'critical'])[1 + number % 3], 'many' || number, now(),"
        " now(), '{}' FROM generate_series(1, 120) AS number"
    )
    visitor = Visitor(pages)
    visitor.log_in(keys["reader"])
    for first in ("/alerts", "/alerts?which=all"):
        path, seen = first, []
        while path:
            body = visitor.get(path).body.decode()
            seen += re.findall(r'<span class="badge (\w+)">\w+</span> <strong>(.*?)</strong>', body)
            following = re.search(r'rel="next" href="([^"]+)"', body)
            path = following[1].replace("&amp;", "&") if following else ""
        assert len(seen) == len(set(seen)) == 127
        ranks = [("critical", "warning", "info").index(each[0]) for each in seen]
        assert (ranks == sorted(ranks)) == (first == "/alerts")


def test_a_statement_is_downloaded_by_its_tenant_only(pages: HttpServer, keys: Mapping[str, str]) -> None:
    visitor = Visitor(pages)
    visitor.log_in(keys["tenant:Hotel Adler"])
    assert b"2026-01" in visitor.get("/site").body
    answer = visitor.get("/site/statements/2026-01.html")
    assert answer.status == 200
    assert answer.headers["content-disposition"].startswith("attachment")
    assert b"Hotel Adler" in answer.body
    pdf = visitor.get("/site/statements/2026-01.pdf")
    assert pdf.body.startswith(b"%PDF-")
    for path in ("2025-12.html", "2026-01.exe", "2026-13.pdf", "x.html"):
        assert visitor.get(f"/site/statements/{path}").status == 404, path
    operator = Visitor(pages)
    operator.log_in(keys["noc"])
    assert operator.get("/site/statements/2026-01.html").status == 403


def test_pages_are_compressed_and_their_tokens_are_not_the_same_twice(
    pages: HttpServer, keys: Mapping[str, str]
) -> None:
    visitor = Visitor(pages)
    visitor.log_in(keys["noc"])
    path = "/static/" + re.findall(r'src="/static/([^"]+htmx.min.js)"', visitor.get("/").body.decode())[0]
    for each in ("/", "/routers", "/noc/history", path):
        plain, packed = visitor.get(each, **{"Accept-Encoding": "identity"}), visitor.get(each)
        assert "content-encoding" not in plain.headers, each
        if len(plain.body) >= 1024:
            assert packed.headers["content-encoding"] == "gzip", each
            assert int(packed.headers["content-length"]) < len(plain.body) / 2, each
        assert "accept-encoding" in packed.headers["vary"].lower(), each
    # Two tokens, each of which holds: whoever sees sizes of pages cannot guess one letter by letter.
    one, other = visitor.token(), visitor.token()
    assert one[:64] != other[:64]
    assert one[64:] != other[64:]
    for token in (one, other):
        assert visitor.post("/preferences", {"csrf": token, "zone": "UTC"}).status == 303
    for token in (one[:64], one[:64] + other[64:], "00" * 64, one[:-2], one + "00"):
        assert visitor.post("/preferences", {"csrf": token, "zone": "UTC"}).status == 403, token


def test_a_host_keeps_the_days_of_a_router_that_changed_hands(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    visitor = Visitor(pages)
    visitor.log_in(keys["tenant:Hotel Adler"])

    def tiles() -> list[str]:
        page = visitor.get("/site").body.decode()
        return re.findall(r"\d[\d.]* \w?B", page.partition('class="tiles')[2].partition("</section>")[0])

    before = tiles()
    assert before
    # From tomorrow on, router 1 is another one's. Its days until then are still those of the hotel.
    scene.execute(
        """INSERT INTO radmeter.router_tenant (router_id, from_day, tenant_id)
           SELECT 1, (now() AT TIME ZONE 'UTC')::date + 2, 102;
           UPDATE public.routers SET tenant_id = 102 WHERE id = 1"""
    )
    assert tiles()[0] == before[0]
    page = visitor.get("/site?after=999999").body.decode()
    first = visitor.get("/site").body.decode()
    counted = [re.search(r"(\d+) open sessions?", each) for each in (first, page)]
    assert counted[0] is not None
    assert counted[1] is not None
    assert counted[0][1] == counted[1][1] != "0"


def test_a_host_sees_which_documents_hold_and_what_was_credited(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    scene.execute(
        """SET session_replication_role = replica;
        INSERT INTO invoices (id, number, tenant_id, period_start, period_end, usage, amount, currency, status, net,
                              tax, digits, issued_at)
        SELECT id, number, 101, '2026-02-01', '2026-03-01', 1000, amount, 'EUR', status, amount, 0, 2, now()
        FROM (VALUES (501, 'A-1', 10.58, 'void'), (502, 'A-3', 1012.44, 'issued')) AS each (id, number, amount, status);
        INSERT INTO credit_notes (invoice_id, issuer_id, number_year, sequence, number, currency, digits, net, tax,
                                  amount, taxes, reason, voids, recipient, issuer)
        SELECT invoice, (SELECT min(id) FROM radmeter.issuers), 2026, sequence, 'CN-' || sequence, 'EUR', 2, amount, 0,
               amount, '[]', 'wrong', voids, '{}', '{}'
        FROM (VALUES (501, 1, 10.58, true), (502, 2, 11.90, false)) AS each (invoice, sequence, amount, voids);
        SET session_replication_role = DEFAULT"""
    )
    visitor = Visitor(pages)
    visitor.log_in(keys["tenant:Hotel Adler"])
    panel = visitor.get("/site").body.decode().partition('id="h-documents"')[2].partition("</section>")[0]
    assert re.sub(r"(<(?!/?s>)[^>]*>|\s)+", "|", panel.partition("<strong>")[2]).split("|2026-01|")[0].split("|") == [
        *("2026-02", "1,000.54", "EUR", "HTML", "·", "PDF"),
        *("A-1", "void", "<s>10.58", "EUR</s>", "credit", "note", "CN-1", "for", "A-1", "-10.58", "EUR"),
        *("A-3", "1,012.44", "EUR", "credit", "note", "CN-2", "for", "A-3", "-11.90", "EUR"),
    ]  # fmt: skip


def test_the_page_of_a_host_names_the_zone_of_its_routers(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    visitor = Visitor(pages)
    visitor.log_in(keys["tenant:Hotel Adler"])
    scene.execute("UPDATE radmeter.tenants SET timezone = 'Europe/Berlin' WHERE id = 101")

    def page() -> str:
        return visitor.get("/site").body.decode()

    assert "days of UTC;" in page()
    # Its own day of now, which is another one than the tenant's for a half of the hours at least.
    scene.execute(
        """UPDATE routers SET timezone = CASE id WHEN 1 THEN 'Etc/GMT+12' ELSE 'Pacific/Kiritimati' END
           WHERE tenant_id = 101;
           UPDATE router_daily_usage SET bytes_in = 0, bytes_out = 0;
           INSERT INTO router_daily_usage AS usage (router_id, usage_date, bytes_in, bytes_out)
           SELECT id, (now() AT TIME ZONE timezone)::date, 3 * 10^9, 0 FROM routers WHERE id IN (1, 2)
           ON CONFLICT (router_id, usage_date) DO UPDATE SET bytes_in = excluded.bytes_in"""
    )
    found = page()
    assert "days of each router&#39;s time zone;" in found
    assert re.search(r"<dt>Today</dt><dd>6.00 GB", found)


def test_many_statements_at_once_hold_few_connections(
    pages: HttpServer, keys: Mapping[str, str], scene: Connection
) -> None:
    visitor = Visitor(pages)
    visitor.log_in(keys["tenant:Hotel Adler"])
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    most = 0
    with ThreadPoolExecutor(40) as people:
        asked = [people.submit(visitor.get, "/site/statements/2020-01.html") for _ in range(60)]
        while not all(each.done() for each in asked):
            row = scene.execute(count).fetchone()
            assert row is not None
            most = max(most, int(row[0]))
    assert {each.result().status for each in asked} == {404, 503}
    # The three pools, the figures, doctor, this test, and two statements.
    assert most <= 8 + 2 + 2 + 3 + 2
    assert "Traceback" not in pages.text()


def test_the_journal_of_the_host_is_in_the_page_of_the_pipeline(
    pages_dsn: str, database: str, tmp_path: Path, keys: Mapping[str, str]
) -> None:
    fill(tmp_path / "journal", range(3))
    with serving(pages_dsn, tmp_path, RADMETER_JOURNAL=str(tmp_path / "journal")) as server:
        visitor = Visitor(server)
        visitor.log_in(keys["reader"])
        page = visitor.get("/pipeline").body.decode()
        assert re.search(r"3 records to be shipped, .* on disk", page)
        assert "nothing ships it" in page
        assert b"\nradmeter_journal_records 3.0" in server.request("GET", "/metrics").body
        ship(tmp_path / "journal", database)
        until("it is shipped", lambda: b"0 records to be shipped" in visitor.get("/pipeline").body, 30)
