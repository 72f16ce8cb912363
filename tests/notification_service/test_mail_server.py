"""A mail server that goes, comes back, refuses: nothing is lost, nothing is sent twice, nothing is silent."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest
from aiosmtpd.controller import Controller

from notification_service import mailer
from ops.native.servers.base import free_ports
from ops.native.servers.mail import MailCatcher


@pytest.fixture
def own_mail(desk, tmp_path):
    tmp_path.chmod(0o711)
    mail = MailCatcher(tmp_path / "mail", free_ports(1)[0])
    desk.settings = replace(desk.settings, smtp_port=mail.port)
    yield mail
    mail.stop()


class Answer:
    """A mail server that answers each recipient or message with one fixed line."""

    def __init__(self, *, recipient: str = "250 OK", data: str = "250 OK") -> None:
        self.recipient, self.data, self.messages = recipient, data, []

    async def handle_RCPT(self, server, session, envelope, address, options):
        envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, server, session, envelope):
        self.messages.append(envelope)
        return self.data


@pytest.fixture
def answering(desk):
    """`answering(data="451 ...")`: the desk's mail server is one that answers so."""
    running = []

    def serve(**answers) -> Answer:
        handler = Answer(**answers)
        controller = Controller(handler, hostname="127.0.0.1", port=free_ports(1)[0])
        controller.start()
        running.append(controller)
        desk.settings = replace(desk.settings, smtp_port=controller.port)
        return handler

    yield serve
    for controller in running:
        controller.stop()


def test_the_server_away_and_back_loses_nothing(desk, own_mail):
    patient_id = desk.patient("es")
    for _ in range(25):
        desk.notify(patient_id)
    started = time.monotonic()
    desk.work()
    assert time.monotonic() - started < 10
    waiting = desk.deliveries()
    assert {(item["status"], item["failures"], item["reason"]) for item in waiting} == {("QUEUED", 1, "server_away")}
    own_mail.start(tied=True)
    desk.let_time_pass()
    desk.work()
    letters = desk.letters(own_mail)
    assert len(letters) == len({message["Message-ID"] for message in letters}) == 25
    assert desk.updates().count(("SENT", None)) == 25


def test_a_silent_server_is_waited_for_once_a_batch(desk, monkeypatch):
    monkeypatch.setattr(mailer, "TIMEOUT_S", 1.0)
    patient_id = desk.patient("es")
    for _ in range(5):
        desk.notify(patient_id)
    desk.resolve()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        desk.settings = replace(desk.settings, smtp_port=silent.getsockname()[1])
        started = time.monotonic()
        desk.send()
        assert time.monotonic() - started < 2.5
    assert {(item["status"], item["reason"]) for item in desk.deliveries()} == {("QUEUED", "server_away")}


def test_a_delivery_fails_loudly_after_its_last_attempt_and_can_be_retried(desk, own_mail):
    desk.notify(desk.patient("es"))
    desk.resolve()
    for failures in range(1, 7):
        desk.let_time_pass()
        desk.send()
        (delivery,) = desk.deliveries()
        assert delivery["failures"] == failures
        assert delivery["status"] == ("QUEUED" if failures < 6 else "FAILED")
    assert desk.updates() == [("QUEUED", None), ("FAILED", "server_away")]
    own_mail.start(tied=True)
    path = f"/notifications/{delivery['id']}/retry"
    assert desk.service.call("POST", path, desk.person).json["data"]["status"] == "QUEUED"
    desk.send()
    (message,) = desk.letters(own_mail)
    assert message["Message-ID"] == f"<{delivery['id']}@heartguard.test>"
    again = desk.service.call("POST", path, desk.person)
    assert (again.status_code, again.json["error"]["id"]) == (409, "HG-NOT-001")
    statuses = [status for status, _ in desk.events(delivery["id"])]
    assert statuses == ["QUEUED", "FAILED", "QUEUED", "SENT"]


@pytest.mark.parametrize("answers", [{"recipient": "550 no such user"}, {"data": "554 refused"}])
def test_a_refusal_for_ever_is_final_at_once(desk, answering, answers):
    answering(**answers)
    desk.notify(desk.patient("es"))
    desk.work()
    assert desk.updates() == [("QUEUED", None), ("FAILED", "refused")]


@pytest.mark.parametrize("answers", [{"recipient": "450 later"}, {"data": "451 later"}])
def test_a_refusal_for_now_waits(desk, answering, answers):
    answering(**answers)
    desk.notify(desk.patient("es"))
    desk.work()
    (delivery,) = desk.deliveries()
    assert (delivery["status"], delivery["reason"], delivery["failures"]) == ("QUEUED", "deferred", 1)


def test_one_refused_recipient_holds_up_no_other(desk, answering):
    handler = answering()
    patient_id = desk.patient("es")

    async def refuse_first(server, session, envelope, address, options):
        envelope.rcpt_tos.append(address)
        return "550 no such user" if address == desk.emails[0] else "250 OK"

    handler.handle_RCPT = refuse_first
    desk.notify(patient_id, level="critical")
    desk.notify(desk.patient("es"))
    desk.work()
    assert sorted(item["status"] for item in desk.deliveries()) == ["FAILED", "SENT"]
    assert [envelope.rcpt_tos for envelope in handler.messages] == [[desk.emails[1]]]


def test_one_connection_serves_a_batch(desk, answering):
    handler = answering()
    peers = set()

    async def remember(server, session, envelope):
        peers.add(session.peer)
        return "250 OK"

    handler.handle_DATA = remember
    patient_id = desk.patient("es")
    for _ in range(5):
        desk.notify(patient_id)
    desk.work()
    assert len(peers) == 1


def test_readiness_names_the_mail_server(desk):
    states = desk.service.call("GET", "/ready").json["data"]["dependencies"]
    assert states["smtp"]["state"] == "up"
