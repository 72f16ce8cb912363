"""`/docs` and `/status` in a real Chromium: a person logs in, makes a call, and sees how the suite is.

Screenshots stay in build/screenshots/.
"""

from __future__ import annotations

import json
import shutil
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as condition
from selenium.webdriver.support.wait import WebDriverWait

from common.config import ROOT, SERVICE_PORTS
from tests.support.samples import made
from tests.support.suite import Suite

SCREENSHOTS = ROOT / "build" / "screenshots"
ME = {"email": "luz@clinica.test", "password": "tres gatos en el tejado"}


@pytest.fixture(scope="module")
def suite(servers, service, tmp_path_factory) -> Iterator[Suite]:
    """The gateway, auth and audit with their workers; all other services are away."""
    running = Suite(servers, tmp_path_factory.mktemp("suite"))
    running.start_workers("auth", "audit")
    running.start_web("auth", "audit", "gateway")
    yield running
    running.stop()


class Browser:
    """A Chromium that says what it asked for and what it complained of."""

    def __init__(self, folder: Path, url: str, language: str, width: int, height: int) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = _program("chromium")
        for argument in (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={folder}",
            f"--lang={language}",
            f"--window-size={width},{height}",
        ):
            options.add_argument(argument)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.url = url
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(_program("chromedriver")))
        # A window is never narrower than 500 pixels; a phone is.
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        self._wait = WebDriverWait(self.driver, 20)

    def open(self, path: str) -> None:
        self.driver.get(f"{self.url}{path}")

    def find(self, selector: str) -> WebElement:
        """The element, once it is shown."""
        return self._wait.until(condition.visibility_of_element_located((By.CSS_SELECTOR, selector)))

    def click(self, selector: str) -> None:
        element = self._wait.until(condition.element_to_be_clickable((By.CSS_SELECTOR, selector)))
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def keep(self, name: str) -> None:
        """Write a picture of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
        picture = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        (SCREENSHOTS / f"{name}.png").write_bytes(b64decode(picture["data"]))

    def scrolls_sideways(self) -> bool:
        wide = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
        return bool(self.driver.execute_script(wide))

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def asked_elsewhere(self) -> list[str]:
        """Addresses outside the gateway that the pages asked for."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        assert any(url.startswith(self.url) for url in urls)
        return [url for url in urls if not url.startswith((f"{self.url}/", "data:", "chrome:"))]


def _program(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is missing; `tests/run.sh` installs it (Debian: chromium chromium-driver)"
    return path


@pytest.fixture
def browser(suite: Suite, tmp_path: Path) -> Iterator[Any]:
    """`browser("es", 390)`: a fresh Chromium of a language and a width."""
    opened: list[Browser] = []

    def start(language: str, width: int, height: int = 900) -> Browser:
        opened.append(Browser(tmp_path / f"profile-{len(opened)}", suite.url("gateway"), language, width, height))
        return opened[-1]

    yield start
    for item in opened:
        item.driver.quit()


def test_a_person_logs_in_and_makes_a_call_from_the_documentation(browser, service, clinician):
    auth = service("auth")
    made(auth, clinician, "/auth/users", ME | {"name": "Luz", "roles": ["clinician"]})
    page = browser("en", 1280)
    page.open("/docs")
    page.find("#operations-tag-auth")
    page.keep("docs")
    page.click("#operations-tag-auth")
    login = "#operations-auth-auth_log_in"
    page.click(f"{login} .opblock-summary-control")
    page.click(f"{login} .try-out__btn")
    body = page.find(f"{login} textarea.body-param__text")
    assert json.loads(body.get_attribute("value"))["email"] == "ana.garcia@example.org"  # the example is filled in
    body.send_keys(Keys.CONTROL, "a")
    body.send_keys(json.dumps(ME))
    page.click(f"{login} .execute")
    assert page.find(f"{login} .live-responses-table tr.response .response-col_status").text.startswith("200")
    answer = json.loads(page.find(f"{login} .live-responses-table tr.response .response-col_description pre").text)
    page.keep("docs-login")

    page.click(".auth-wrapper .authorize")
    page.find(".modal-ux input").send_keys(answer["data"]["access_token"])
    page.click(".modal-ux .auth-btn-wrapper button.authorize")
    page.click(".modal-ux .btn-done")

    me = "#operations-auth-auth_get_me"
    page.click(f"{me} .opblock-summary-control")
    page.click(f"{me} .try-out__btn")
    page.click(f"{me} .execute")
    assert page.find(f"{me} .live-responses-table tr.response .response-col_status").text.startswith("200")
    answer = json.loads(page.find(f"{me} .live-responses-table tr.response .response-col_description pre").text)
    assert answer["data"]["email"] == ME["email"]
    page.keep("docs-call")
    assert page.complaints() == []
    assert page.asked_elsewhere() == []


def test_the_documentation_is_read_on_a_phone(browser):
    page = browser("es", 390)
    page.open("/docs")
    page.click("#operations-tag-auth")
    login = "#operations-auth-auth_log_in"
    page.click(f"{login} .opblock-summary-control")
    page.find(f"{login} .responses-table")
    assert not page.scrolls_sideways()
    page.keep("docs-390")


@pytest.mark.parametrize(
    ("language", "heading", "state"),
    [("es", "Estado del sistema", "Funciona"), ("en", "System status", "Up")],
)
@pytest.mark.parametrize("width", [390, 1280])
def test_the_status_of_twelve_services_is_seen_at_a_glance(browser, language, heading, state, width):
    page = browser(language, width)
    page.open("/status")
    assert page.driver.find_element(By.TAG_NAME, "html").get_attribute("lang") == language
    assert heading in page.find("h1").text
    cards = page.driver.find_elements(By.CSS_SELECTOR, ".service")
    assert [card.get_attribute("id") for card in cards] == list(SERVICE_PORTS)
    assert state in page.find("#auth .state").text
    assert "postgresql" in page.find("#auth .dependencies").text
    queue = page.find("#audit table tbody th")
    assert queue.text == "trail"
    assert page.find("#patient").get_attribute("class") == "service down"
    assert not page.scrolls_sideways()
    page.keep(f"status-{language}-{width}")
    assert page.complaints() == []
    assert page.asked_elsewhere() == []


def test_the_status_refreshes_itself_and_says_when_it_cannot(browser, suite):
    page = browser("es", 1280)
    page.open("/status")
    assert page.find("#auth").get_attribute("class") == "service up"
    page.driver.execute_script("document.getElementById('auth').className = 'old'")
    page.find("#auth.service.up")
    page.driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    assert "Sin respuesta" in page.find("#stale").text
    page.keep("status-offline")
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    WebDriverWait(page.driver, 20).until(condition.invisibility_of_element_located((By.ID, "stale")))
