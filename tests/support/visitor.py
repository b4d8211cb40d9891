"""A browser without scripts, for pages as the server sends them."""

import re
from collections.abc import Mapping
from urllib.parse import urlencode

from support.http_server import HttpServer, Response

FORM = "application/x-www-form-urlencoded"


class Visitor:
    """A browser without scripts: it keeps cookies and sends forms."""

    def __init__(self, server: HttpServer, **headers: str) -> None:
        self.server = server
        self.cookies: dict[str, str] = {}
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def get(self, path: str, **headers: str) -> Response:
        return self._sent("GET", path, None, headers)

    def post(self, path: str, form: Mapping[str, str], **headers: str) -> Response:
        return self._sent("POST", path, urlencode(form).encode(), {"Content-Type": FORM, **headers})

    def token(self, path: str = "/") -> str:
        found = re.search(r'name="csrf" value="(\w+)"', self.get(path).body.decode())
        assert found is not None
        return found[1]

    def log_in(self, key: str) -> Response:
        return self.post("/login", {"csrf": self.token("/login"), "key": key})

    def _sent(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {**self.headers, **({"Cookie": cookie} if cookie else {}), **headers}
        answer = self.server.request(method, path, body=body, headers=sent)
        # `Response` has the last of each header; a page sets one cookie, the login another one.
        for name, value in re.findall(r"(radmeter-\w+)=([^;]*)", answer.headers.get("set-cookie", "")):
            self.cookies[name] = value
        return answer
