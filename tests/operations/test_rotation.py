"""Keys and passwords change while programs of both generations work: none is refused by another or by a server."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import pika
import psycopg2
import pytest
import redis

from common.auth import AUDIENCE, INTERNAL_AUDIENCE, TokenSigner, TokenVerifier
from common.config import SERVICES, ServiceSettings
from common.database import Database
from ops import rotate
from ops.backups.places import Native
from ops.native import settings
from ops.native.servers import LOOPBACK
from ops.rotate import EnvFile, Rotation, RotationError
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
        rotation = Rotation(Native(), reload=programs.restart)
        with programs.working():
            time.sleep(0.5)
            rotation.ring("jwt")
            rotation.ring("internal")
            rotation.everything()
            os.utime(env.path, (time.time() - 1000,) * 2)
            rotation.finish("jwt")
            os.utime(env.path, (time.time() - 1000,) * 2)
            rotation.finish("internal")
            time.sleep(0.5)
        print(f"{programs.restarts} restarts of everything, {dict(programs.done)}")
        assert programs.wrong == []
        assert programs.done["connections"] > 100 and programs.done["tokens"] > 100

        after = env.values()
        assert not [name for name in after if name.endswith("_NEXT")]
        assert all(after[name] != before[name] for name in (*settings.PASSWORDS, "JWT_SIGNING_KEYS"))
        place = {"host": LOOPBACK, "port": loaded.environment["DATABASE_PORT"], "dbname": "heartguard"}
        for name, variable in rotate.ROLES.items():
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


def test_finish_waits_for_the_last_token_of_the_old_key(tmp_path: Path) -> None:
    rotation, seen = ring(tmp_path, "k1:old")
    rotation.ring("jwt")
    with pytest.raises(RotationError, match="min more"):
        rotation.finish("jwt")
    os.utime(rotation.env.path, (time.time() - 901,) * 2)
    rotation.finish("jwt")
    assert len(kids(seen[-1])) == 1 and kids(seen[-1]) != ["k1"]


def ring(tmp_path: Path, keys: str) -> tuple[Rotation, list[str]]:
    """A rotation of a `.env` alone, and what it said at each restart."""
    path = tmp_path / ".env"
    path.write_text(f"# kept\nJWT_SIGNING_KEYS={keys}\nOTHER=1\n")
    rotation = Rotation.__new__(Rotation)
    rotation.env, seen = EnvFile(path), []
    rotation.reload = lambda: seen.append(rotation.env.values()["JWT_SIGNING_KEYS"])
    return rotation, seen


def kids(keys: str) -> list[str]:
    return [key.partition(":")[0] for key in keys.split(",")]


def test_a_key_is_known_everywhere_before_it_signs(tmp_path: Path) -> None:
    rotation, seen = ring(tmp_path, "k1:old")
    rotation.ring("jwt")
    assert [len(kids(keys)) for keys in seen] == [2, 2]
    assert kids(seen[0])[0] == "k1" and kids(seen[1])[1] == "k1"
    text = (tmp_path / ".env").read_text()
    assert text.startswith("# kept\n") and text.endswith("OTHER=1\n")
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


def test_an_interrupted_rotation_goes_on_with_the_same_key(tmp_path: Path) -> None:
    rotation, seen = ring(tmp_path, "k1:old,r20260101000000:new")
    with pytest.raises(RotationError, match="no new key signs yet"):
        rotation.finish("jwt")
    rotation.ring("jwt")
    assert [kids(keys) for keys in seen] == [["k1", "r20260101000000"], ["r20260101000000", "k1"]]
    rotation.ring("jwt")  # a whole new one, though the last was not finished
    now = kids(seen[-1])
    assert now[1:] == ["r20260101000000", "k1"] and now[0] > f"r{datetime.now(UTC):%Y}"


def test_keys_that_seal_for_ever_are_never_forgotten(tmp_path: Path) -> None:
    rotation, _ = ring(tmp_path, "k1:old")
    with pytest.raises(RotationError, match="old keys stay"):
        rotation.finish("audit")


def test_a_variable_of_the_shell_is_not_changed_behind_its_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotation, seen = ring(tmp_path, "k1:old")
    monkeypatch.setenv("JWT_SIGNING_KEYS", "k1:old")
    with pytest.raises(RotationError, match="unset it"):
        rotation.ring("jwt")
    assert seen == []
