"""Keys and passwords change while programs of both generations work: none is refused by another or by a server."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import pika
import psycopg2
import pytest
import redis

from auth_service import keys as auth_keys
from common.config import SERVICES, ServiceSettings
from common.database import Database
from common.env_file import EnvFile, EnvFileError
from common.tokens import AUDIENCE, INTERNAL_AUDIENCE, TokenSigner, TokenVerifier, parse_keys
from ops.native import settings
from ops.native.servers.base import LOOPBACK
from ops.rotation import keys
from ops.rotation.passwords import ROLES, rotate_everything
from ops.rotation.suites import NativeSuite, RotationError
from tests.operations.house import House
from tests.support.operators import leave_session

pytestmark = pytest.mark.usefixtures("operators_shell")


class Generation:
    """What the programs know that were started with one state of `.env`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            leave_session(patch)
            for name, value in {**environment, "HEARTGUARD_ENV_FILE": os.devnull}.items():
                patch.setenv(name, value)
            self.settings = {name: ServiceSettings.load(name) for name in SERVICES}
        self.databases = {name: Database(found) for name, found in self.settings.items()}
        self.any = self.settings["patient"]

    def connects(self, service: str) -> None:
        """A new connection to both servers, as after a restart of either: the hardest moment."""
        connection = self.databases[service].connect()
        connection.close()
        with redis.Redis.from_url(self.any.redis_url) as client:
            client.ping()

    def believes(self, other: Generation) -> None:
        """Its tokens are taken by the other, for people and between services."""
        for audience in (AUDIENCE, INTERNAL_AUDIENCE):
            token = TokenSigner(self.any, audience).sign("somebody", seconds=60)
            TokenVerifier(other.any).verify(token, audience)


class Programs:
    """Two programs that work without a pause, and are restarted one after the other."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.running = [Generation(house.load().environment)] * 2
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.restarts = 0
        self._stopping = threading.Event()

    def restart(self) -> None:
        """Both in turn; between, one of each generation works for a while."""
        self.restarts += 1
        fresh = Generation(self.house.load().environment)
        for place in range(2):
            self.running[place] = fresh
            time.sleep(0.5)

    def _work(self, place: int) -> None:
        services = cycle(SERVICES)
        while not self._stopping.is_set():
            mine, other = self.running[place], self.running[1 - place]
            self._try("connections", lambda mine=mine: mine.connects(next(services)))
            self._try("tokens", lambda mine=mine, other=other: mine.believes(other))

    def _try(self, what: str, step: Callable[[], None]) -> None:
        try:
            step()
            self.done[what] += 1
        except Exception as error:  # each is a request that would have failed
            self.wrong.append(f"{what} after {self.restarts} restarts: {error!r}")

    @contextmanager
    def working(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._work, args=(place,)) for place in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()


def test_every_secret_changes_while_programs_work(house: House) -> None:
    with house.servers() as loaded, house.entered():
        env = EnvFile(house.folder / ".env")
        before, programs = env.values(), Programs(house)
        suite = NativeSuite(reload=programs.restart)
        with programs.working():
            time.sleep(0.5)
            keys.rotate(env, suite.reload, "jwt")
            keys.rotate(env, suite.reload, "internal")
            rotate_everything(suite)
            os.utime(env.path, (time.time() - 1000,) * 2)
            keys.finish(env, suite.reload, "jwt")
            os.utime(env.path, (time.time() - 1000,) * 2)
            keys.finish(env, suite.reload, "internal")
            time.sleep(0.5)
        print(f"{programs.restarts} restarts of everything, {dict(programs.done)}")
        assert programs.wrong == []
        assert programs.done["connections"] > 100 and programs.done["tokens"] > 100

        after = env.values()
        assert not [name for name in after if name.endswith("_NEXT")]
        assert all(after[name] != before[name] for name in (*settings.PASSWORDS, "JWT_SIGNING_KEYS"))
        place = {"host": LOOPBACK, "port": loaded.environment["DATABASE_PORT"], "dbname": "heartguard"}
        for name, variable in ROLES.items():
            role = name if name == "postgres" else f"heartguard_{name}"
            psycopg2.connect(user=role, password=after[variable], **place).close()
            with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                psycopg2.connect(user=role, password=before[variable], **place)
        old = loaded.environment["REDIS_URL"]
        with redis.Redis.from_url(old) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        assert broker_takes(house.load().environment["RABBITMQ_URL"])
        assert not broker_takes(loaded.environment["RABBITMQ_URL"])
        # What Redis and RabbitMQ read when they come back after a crash.
        for name, variable in (
            ("redis/redis.conf", "REDIS_PASSWORD"),
            ("rabbitmq/definitions.json", "RABBITMQ_PASSWORD"),
        ):
            assert before[variable] not in (house.folder / "state" / name).read_text()
        assert after["REDIS_PASSWORD"] in (house.folder / "state/redis/redis.conf").read_text()


def broker_takes(url: str) -> bool:
    """Whether RabbitMQ lets a new connection in."""
    parameters = pika.URLParameters(url)
    parameters.connection_attempts = 1
    try:
        pika.BlockingConnection(parameters).close()
    except (pika.exceptions.ProbableAuthenticationError, pika.exceptions.AMQPConnectionError):
        return False
    return True


@dataclass
class Ring:
    """A `.env` alone, whose keys change, and what it said at each restart."""

    env: EnvFile
    seen: list[str] = field(default_factory=list)

    def now(self) -> str:
        return self.env.values()["JWT_SIGNING_KEYS"]

    def reload(self) -> None:
        self.seen.append(self.now())

    def rotate(self, what: str = "jwt") -> None:
        keys.rotate(self.env, self.reload, what)

    def finish(self, what: str = "jwt") -> None:
        keys.finish(self.env, self.reload, what)

    def by_hand(self, command: str) -> int:
        """What an operator does without a running suite."""
        return auth_keys.main([command])

    def age(self, seconds: float) -> None:
        os.utime(self.env.path, (time.time() - seconds,) * 2)


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Ring]:
    def make(entries: str, **variables: str) -> Ring:
        path = tmp_path / ".env"
        others = "".join(f"{name}={value}\n" for name, value in variables.items())
        path.write_text(f"# kept\nJWT_SIGNING_KEYS={entries}\nOTHER=1\n{others}")
        monkeypatch.setenv("HEARTGUARD_ENV_FILE", str(path))
        return Ring(EnvFile(path))

    return make


def kids(entries: str) -> list[str]:
    return [key.partition(":")[0] for key in entries.split(",")]


def test_finish_waits_for_the_last_token_of_the_old_key(ring) -> None:
    one = ring("k1:old")
    one.rotate()
    with pytest.raises(RotationError, match="min more"):
        one.finish()
    one.age(901)
    one.finish()
    assert len(kids(one.seen[-1])) == 1 and kids(one.seen[-1]) != ["k1"]


def test_a_key_is_known_everywhere_before_it_signs(ring) -> None:
    one = ring("k1:old")
    one.rotate()
    assert [len(kids(entries)) for entries in one.seen] == [2, 2]
    assert kids(one.seen[0])[0] == "k1" and kids(one.seen[1])[1] == "k1"
    text = one.env.path.read_text()
    assert text.startswith("# kept\n") and text.endswith("OTHER=1\n")
    assert one.env.path.stat().st_mode & 0o777 == 0o600


def test_an_interrupted_rotation_goes_on_with_the_same_key(ring) -> None:
    one = ring("k1:old,k1767225600:new")
    with pytest.raises(RotationError, match="no new key signs yet"):
        one.finish()
    one.rotate()
    assert [kids(entries) for entries in one.seen] == [["k1", "k1767225600"], ["k1767225600", "k1"]]
    one.rotate()  # a whole new one, though the last was not finished
    now = kids(one.seen[-1])
    assert now[1:] == ["k1767225600", "k1"] and now[0] > "k1767225600"


@pytest.mark.parametrize("begun_by_hand", [True, False])
def test_the_two_commands_in_turn_lose_no_live_key(ring, begun_by_hand: bool) -> None:
    """Whatever the order, a key that signed within the life of a token is accepted by all."""
    one = ring("k1:old")
    signed = ["k1"]
    for round_ in range(4):
        if begun_by_hand == (round_ % 2 == 0):
            assert one.by_hand("rotate") == 0
            assert kids(one.now())[0] == signed[-1]
            assert one.by_hand("rotate") == 0
        else:
            one.rotate()
        signed.append(kids(one.now())[0])
        assert one.by_hand("finish") == 1
        assert set(signed) <= set(kids(one.now()))
    assert len(set(signed)) == 5
    one.age(901)
    assert one.by_hand("finish") == 0 and kids(one.now()) == signed[-1:]


def test_either_command_ends_what_the_other_began(ring) -> None:
    one = ring("k1:old")
    assert one.by_hand("rotate") == 0
    waiting = kids(one.now())[1]
    one.rotate()
    assert [kids(entries) for entries in one.seen] == [["k1", waiting], [waiting, "k1"]]


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256"])
def test_key_pairs_change_like_secrets(ring, tmp_path: Path, algorithm: str) -> None:
    first = auth_keys.lengthened([], algorithm, 1_700_000_000, tmp_path)
    one = ring(",".join(first), JWT_ALGORITHM=algorithm)
    one.rotate()
    assert [kids(entries)[0] == "k1700000000" for entries in one.seen] == [True, False]
    for entries in one.seen:
        assert len(parse_keys(entries.split(","), algorithm, public=True)) == 2


def test_keys_that_seal_for_ever_are_never_forgotten(ring) -> None:
    with pytest.raises(RotationError, match="old keys stay"):
        ring("k1:old").finish("audit")


def test_a_variable_of_the_shell_is_not_changed_behind_its_back(ring, monkeypatch: pytest.MonkeyPatch) -> None:
    one = ring("k1:old")
    monkeypatch.setenv("JWT_SIGNING_KEYS", "k1:old")
    with pytest.raises(EnvFileError, match="unset it"):
        one.rotate()
    assert one.seen == []
