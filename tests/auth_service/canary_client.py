"""Uses every secret that auth_service handles, in a process of its own, and writes them all to the file named first.

What the process prints is what a service would log.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from uuid import uuid4

import pyotp
from sqlalchemy import select

from auth_service.app import app
from auth_service.credentials import reset_token
from auth_service.models import PASSWORD_RESET, AccountMail, User
from common.database import ALL_ORGANIZATIONS
from common.tokens import INTERNAL_AUDIENCE, TokenSigner

client, service = app.test_client(), app.extensions["heartguard"]
secrets: set[str] = set()


def call(method: str, path: str, status: int, body: object = None, token: str | None = None) -> dict:
    """One request that has to answer `status`; every secret that it answers is noted."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = client.open(path, method=method, json=body, headers=headers)
    assert answer.status_code == status, (path, answer.text)
    data = answer.json["data"] if answer.status_code == 200 else {}
    secrets.update(data[name] for name in ("access_token", "refresh_token", "device_token", "secret") if data.get(name))
    secrets.update(data.get("recovery_codes", ()))
    return data


def password() -> str:
    """A fresh canary."""
    made = f"canario amarillo {uuid4().hex}"
    secrets.add(made)
    return made


email, first, second, third, wrong = f"canario-{uuid4().hex}@home.test", *(password() for _ in range(4))
me = {"email": email, "password": first}
call("POST", "/auth/register", 201, me | {"name": "Canario Amarillo"})
call("POST", "/auth/login", 401, me | {"password": wrong})
call("POST", "/auth/login", 400, me | {"password": wrong, "device_token": 7})
session = call("POST", "/auth/login", 200, me)
session = call("POST", "/auth/refresh", 200, {"refresh_token": session["refresh_token"]})
token = session["access_token"]
change = {"current_password": first, "password": second}
call("POST", "/auth/password/change", 401, change | {"current_password": wrong}, token)
call("POST", "/auth/password/change", 204, change, token)
enrolment = call("POST", "/auth/totp/enrol", 200, {"password": second}, token)
codes = call("POST", "/auth/totp/confirm", 200, {"code": pyotp.TOTP(enrolment["secret"]).now()}, token)
call("POST", "/auth/login", 200, me | {"password": second, "code": codes["recovery_codes"][0]})
call("POST", "/auth/password/forgot", 204, {"email": email})
with service.database.transaction(ALL_ORGANIZATIONS) as database:
    reset_mail = select(AccountMail.id).join(User, User.id == AccountMail.user_id).where(User.email == email)
    mail_id = database.scalars(reset_mail.where(AccountMail.kind == PASSWORD_RESET)).one()
reset = reset_token(service.resources["vault"], mail_id)
secrets.add(reset)
call("POST", "/auth/password/reset", 204, {"token": reset, "password": third})
call("POST", "/auth/logout", 401, None, "not.a.token")
org_id = uuid4()
of_services = TokenSigner(service.settings, INTERNAL_AUDIENCE).sign("service:device", seconds=60, org_id=org_id)
session = call("POST", "/auth/login", 200, me | {"password": third, "code": codes["recovery_codes"][1]})
call("PUT", f"/internal/users/{session['user']['id']}/organization", 200, {"role": "clinician"}, of_services)
call("POST", "/auth/switch-organization", 401, {"organization_id": str(org_id)}, "not.a.token")
session = call("POST", "/auth/refresh", 200, {"refresh_token": session["refresh_token"]})
call("POST", "/auth/switch-organization", 200, {"organization_id": str(org_id)}, session["access_token"])
code = call("POST", "/internal/device-pairings", 200, {"device_id": str(uuid4())}, of_services)["code"]
secrets |= {code, code[5:], code.replace("-", "")}
device = call("POST", "/auth/devices/pair", 200, {"code": code})
call("POST", "/auth/devices/pair", 401, {"code": code})
call("POST", "/auth/refresh", 200, {"refresh_token": device["refresh_token"]})
Path(sys.argv[1]).write_text(json.dumps({"secrets": sorted(secrets), "personal": [email, "Canario Amarillo"]}))
