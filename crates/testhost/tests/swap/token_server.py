"""The token server of a registry (Docker's token authentication specification): one user, RS256, over TLS.

Arguments: port, certificate, key, user, password, service. Signing is openssl's.
"""

import base64
import json
import subprocess
import sys
import time
import urllib.parse

from tls_server import Handler, serve

PORT, CERTIFICATE, KEY, USER, PASSWORD, SERVICE = sys.argv[1:]


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(account, scopes):
    der = subprocess.run(["openssl", "x509", "-in", CERTIFICATE, "-outform", "DER"], capture_output=True, check=True)
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der.stdout).decode()]}
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":")
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    now = int(time.time())
    claims = {
        "iss": "harbour", "sub": account, "aud": SERVICE, "iat": now, "nbf": now - 10, "exp": now + 300,
        "jti": str(time.time_ns()), "access": access,
    }
    signed = encoded(json.dumps(header).encode()) + b"." + encoded(json.dumps(claims).encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", KEY], input=signed, capture_output=True, check=True)
    return (signed + b"." + encoded(signature.stdout)).decode()


class Tokens(Handler):
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.answer(401, {"details": "incorrect username or password"})
            return
        scopes = [one for scope in query.get("scope", []) for one in scope.split(" ") if one]
        self.answer(200, {"token": token(USER, scopes), "expires_in": 300})

    def do_POST(self):
        # The OAuth2 form of the same (what containers/image tries first is GET): not offered here.
        self.answer(404, {"details": "not found"})


serve(PORT, CERTIFICATE, KEY, Tokens)
