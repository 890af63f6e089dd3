"""Docker Hub as far as a login by its web page needs it, over TLS: the page's server, the Hub, and the registry's greeting.

Arguments: port, certificate, key, a file that gets the tokens that were taken back. The user has entered the code when
the token is asked for the second time, of each login.
"""

import base64
import sys

from tls_server import Handler, serve

PORT, CERTIFICATE, KEY, REVOKED = sys.argv[1:]
PARTS = [b'{"alg":"RS256","typ":"JWT"}', b'{"https://hub.docker.com":{"username":"captain"}}', b"signature"]
ACCESS = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in PARTS)
PASSWORD = "Basic " + base64.b64encode(b"captain:dckr_pat_secret").decode()
asked = []


class Hub(Handler):
    def do_GET(self):
        if self.path == "/v2/" and self.headers.get("Authorization") == PASSWORD:
            self.answer(200, {})
        else:
            self.answer(401, {}, ("WWW-Authenticate", 'Basic realm="hub"'))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/oauth/device/code" and self.headers["Host"] == "login.docker.com":
            page = "https://login.docker.com/activate?user_code=ABCD-EFGH"
            self.answer(200, {
                "device_code": "device", "user_code": "ABCD-EFGH", "verification_uri_complete": page,
                "expires_in": 60, "interval": 1,
            })
        elif self.path == "/oauth/token":
            asked.append(body)
            if len(asked) % 2:
                self.answer(403, {"error": "authorization_pending", "error_description": "pending"})
            else:
                self.answer(200, {"access_token": ACCESS, "refresh_token": "refresh", "expires_in": 60})
        elif self.path == "/v2/access-tokens/desktop-generate" and self.headers["Authorization"] == "Bearer " + ACCESS:
            self.answer(201, {"data": {"token": "dckr_pat_secret"}})
        elif self.path == "/oauth/revoke":
            with open(REVOKED, "a") as file:
                file.write(body + "\n")
            self.answer(200, {})
        else:
            self.answer(404, {})


serve(PORT, CERTIFICATE, KEY, Hub)
