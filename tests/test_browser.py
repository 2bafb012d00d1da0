"""The report and MLflow's page in a real headless browser.

``D2LORA_PICTURES=DIR`` keeps the pictures that the docs show; ``D2LORA_SWEEP=DIR`` shows a sweep that has run already.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.helpers.browser import (
    DRIVER,
    HEIGHT,
    PHONE,
    PROGRAM,
    WITHOUT,
    colour,
    in_the_dark,
    keep,
    problems,
    whole_again,
    wide_on_a_phone,
)
from tests.helpers.sweeps import RECIPE, rows_of, run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (PROGRAM and DRIVER), reason=WITHOUT)]
SECONDS = 120  # for the first page of MLflow's on a busy machine; a quiet one takes 5
STATISTICS = ("mean_accuracy", "sd_accuracy", "worst_accuracy", "interval_low", "interval_high")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, small_base: Path) -> Path:
    """The folder of a sweep that has run to its end; its MLflow database is two folders up."""
    if "D2LORA_SWEEP" in os.environ:
        return Path(os.environ["D2LORA_SWEEP"]).resolve()
    place = tmp_path_factory.mktemp("finished")
    recipe = place / "small.yaml"
    recipe.write_text(RECIPE.format(base=small_base, place=place))
    code, told, folder = run(recipe, "champions=false")
    assert code == 0, told
    return folder


@pytest.fixture
def mlflow_page(finished: Path, tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server on the sweep's database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store, address = f"sqlite:///{finished.parents[1] / 'mlflow.db'}", f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port)]
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # else seven more processes start
    with (tmp_path / "server.log").open("w+") as log:
        server = subprocess.Popen(
            [*command, "--workers", "1"], cwd=tmp_path, env=quiet, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_for_server(server, address, Path(log.name))
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)  # its workers too: alone, its end would leave them with the port
            server.wait(30)


def wait_for_server(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Return when the server answers; fail with its own words if it ends or never does."""
    end = time.monotonic() + SECONDS
    while server.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=10):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"MLflow's server did not answer within {SECONDS} s: {log.read_text()[-2000:]}")


class MlflowPages:
    """What a person does on MLflow's pages of one sweep: opens runs and artifacts, and reads."""

    def __init__(self, browser: Chrome, address: str, sweep: str) -> None:
        from mlflow import MlflowClient

        client = MlflowClient(address)
        everywhere = [one.experiment_id for one in client.search_experiments()]
        self.runs: list[Any] = client.search_runs(everywhere, f"tags.sweep = '{sweep}'")
        (self.root,) = [run for run in self.runs if run.data.tags["kind"] == "sweep"]
        self.browser = browser
        self._pages = f"{address}/#/experiments/{self.root.info.experiment_id}/runs"

    def below(self, parent: Any) -> list[Any]:
        """Return the runs whose parent this is."""
        return [run for run in self.runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]

    def open_table(self) -> None:
        """Open the table of runs, without the assistant that MLflow opens before it once."""
        seen = "if (location.host) localStorage['mlflow.assistant.fab.autoOpenedOnFirstLoad_v1'] = 'true'"
        self.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": seen})
        self.browser.get(f"{self._pages}?compareRunsMode=TABLE")
        self._wait(lambda: self.rows([self.root]), "the sweep's row")

    def rows(self, runs: Sequence[Any]) -> list[str]:
        """Return the names of those of these runs whose row is in the table."""
        cells = self.browser.execute_script(
            "return [...document.querySelectorAll('[role=row][row-id] a')].map("
            "link => [link.closest('[row-id]').getAttribute('row-id'), link.textContent])"
        )
        shown = dict(cells)
        return [shown[run.info.run_id] for run in runs if run.info.run_id in shown]

    def expand(self, parent: Any) -> list[str]:
        """Open a parent's row; return the names of its children once all have rows."""
        self._click(f"[row-id='{parent.info.run_id}'] button", f"the button that opens {parent.info.run_name}")
        children = self.below(parent)
        self._wait(lambda: len(self.rows(children)) == len(children), f"{parent.info.run_name} with its children")
        return self.rows(children)

    def metrics(self, run: Any, names: Sequence[str]) -> dict[str, float]:
        """Return these metrics as the run's own page shows them: a name, and its value on the next line."""
        self.browser.get(f"{self._pages}/{run.info.run_id}")
        self._wait(lambda: set(names) <= set(self._lines()), f"{', '.join(names)} of {run.info.run_name}")
        lines = self._lines()
        return {name: float(lines[lines.index(name) + 1]) for name in names}

    def opens_with(self, run: Any) -> str:
        """Return what a run's description shows before anything is clicked."""
        self.browser.get(f"{self._pages}/{run.info.run_id}")
        self._wait(lambda: "Description" in self._lines(), f"the description of {run.info.run_name}")
        script = (
            "const more = [...document.querySelectorAll('main button')].find(one => one.textContent == 'Show more');"
            "if (!more) return null; const edge = more.getBoundingClientRect().top;"
            "return [...document.querySelectorAll('main p, main code')].filter(one => {"
            "const at = one.getBoundingClientRect(); return at.height && at.top + 12 < edge})"
            ".map(one => one.textContent).join('\\n')"
        )
        self._wait(lambda: self.browser.execute_script(script), "a description that can be opened")
        return str(self.browser.execute_script(script))

    def charts(self, page: str, figures: int) -> list[str]:
        """Open a page of charts; return its sections' names from the top, once the first has its figures."""
        self.browser.get("about:blank")
        self.browser.get(page)
        drawn = "return [...document.querySelectorAll('main img')].filter(one => one.naturalWidth > 100).length"
        self._wait(lambda: self.browser.execute_script(drawn) == figures, f"{figures} figures among the charts")
        sections = re.findall(r"^(.+?)\s*\((\d+)\)$", "\n".join(self._lines()), re.MULTILINE)
        return [f"{name} ({charts})" for name, charts in sections]

    def of_run(self, run: Any) -> str:
        """Return the address of a run's charts."""
        return f"{self._pages}/{run.info.run_id}/model-metrics"

    def of_experiment(self) -> str:
        """Return the address of the experiment's chart view."""
        return f"{self._pages}?compareRunsMode=CHART"

    def preview(self, run: Any, path: str, element: str) -> WebElement:
        """Choose an artifact of a run; return what shows it: an ``img`` for a figure, an ``iframe`` for a page."""
        self.browser.get("about:blank")  # else what was chosen before would still be shown
        self.browser.get(f"{self._pages}/{run.info.run_id}/artifacts")
        for name in path.split("/"):
            self._click(f"[data-testid=artifact-tree-node][artifact-name='{name}']", f"{name} of artifact {path}")
        self._wait(lambda: self.browser.find_elements(By.CSS_SELECTOR, f"main {element}[src]"), f"{path} as {element}")
        return self.browser.find_element(By.CSS_SELECTOR, f"main {element}[src]")

    def _lines(self) -> list[str]:
        return self.browser.find_element(By.TAG_NAME, "main").text.splitlines()

    def _click(self, selector: str, what: str) -> None:
        """Click as soon as it is there, in one script: between two the page may have drawn it anew."""
        script = "const one = document.querySelector(arguments[0]); if (one) one.click(); return Boolean(one)"
        self._wait(lambda: self.browser.execute_script(script, selector), what)

    def _wait(self, condition: Any, what: str) -> None:
        WebDriverWait(self.browser, SECONDS).until(lambda _: condition(), f"MLflow's page never showed {what}")


def test_the_report_opens_alone_and_reads_on_a_phone_by_keyboard_and_in_the_dark(
    browser: Chrome, finished: Path, tmp_path: Path
) -> None:
    browser.get((finished / "report.html").as_uri())
    assert finished.name in browser.title
    assert browser.find_element(By.TAG_NAME, "h1").text
    assert browser.find_elements(By.CSS_SELECTOR, "svg[role=img], figure svg")
    for task in json.loads((finished / "summary.json").read_text())["tasks"]:
        assert task in browser.find_element(By.TAG_NAME, "main").text
    keep(browser, "report.png", tmp_path, 1700)
    for panel in browser.find_elements(By.CSS_SELECTOR, ".panels svg[role=img]"):
        assert panel.find_elements(By.CSS_SELECTOR, ".marker")
    assert browser.find_elements(By.CSS_SELECTOR, ".curves polyline")  # the steps of the run folders are drawn
    figures = browser.find_elements(By.TAG_NAME, "figure")
    assert all(figure.is_displayed() and figure.find_element(By.CSS_SELECTOR, "a[download]") for figure in figures)
    assert not problems(browser)  # nothing is fetched, nothing is missing

    tab = browser.find_element(By.TAG_NAME, "body")
    tab.send_keys(Keys.TAB)
    assert browser.execute_script("return document.activeElement.tagName") != "BODY"  # the keyboard gets somewhere

    assert wide_on_a_phone(browser) <= PHONE  # nothing sticks out of a phone's page
    whole_again(browser)

    light = colour(browser)
    in_the_dark(browser)
    assert colour(browser) != light


def method_of(tasks: Mapping[str, Any], group: Any) -> Mapping[str, Any]:
    """Return the figures of the task and the method of a parent; equal seeds have no interval."""
    figures: Mapping[str, Any] = tasks[group.data.tags["task"]]["methods"][group.data.tags["method"]]
    return figures


def test_mlflow_shows_the_tree_of_runs_with_statistics_and_artifacts_on_their_parents(
    browser: Chrome, finished: Path, mlflow_page: str, tmp_path: Path
) -> None:
    tasks = json.loads((finished / "summary.json").read_text())["tasks"]
    pages = MlflowPages(browser, mlflow_page, finished.name)
    pages.open_table()
    groups = pages.below(pages.root)
    assert not pages.rows(groups)  # closed at first: a tree, not a list of all
    assert set(pages.expand(pages.root)) == {f"{name} · {task}" for task in tasks for name in tasks[task]["methods"]}
    group = next((group for group in groups if method_of(tasks, group)["interval"]), groups[0])
    task, method = group.data.tags["task"], group.data.tags["method"]
    trained = [row for row in rows_of(finished) if (row["task"], row["method"]) == (task, method)]
    expected = {f"seed {row['seed']} · lr {row['lr']:g} · {method} · {task}" for row in trained}
    assert set(pages.expand(group)) == expected
    keep(browser, "mlflow.png", tmp_path, HEIGHT)

    one = method_of(tasks, group)
    values = (one["mean"], one["sd"], one["worst"], *(one["interval"] or (None, None)))
    known = {name: value for name, value in zip(STATISTICS, values, strict=True) if value is not None}
    assert pages.metrics(group, list(known)) == known

    assert pages.preview(group, "figures/learning_curves.png", "img").is_displayed()
    browser.switch_to.frame(pages.preview(pages.root, "report.html", "iframe"))
    assert browser.find_element(By.TAG_NAME, "h1").text == finished.name
    browser.switch_to.default_content()


def test_a_sweeps_page_in_mlflow_opens_with_its_command_its_outcome_and_its_figures(
    browser: Chrome, finished: Path, mlflow_page: str
) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    methods = [one for task in summary["tasks"].values() for one in task["methods"].values()]
    figures = len(summary["tasks"]) * (1 + any(len(one["by_lr"]) > 1 for one in methods))  # accuracy, perhaps rates
    pages = MlflowPages(browser, mlflow_page, finished.name)
    told = pages.opens_with(pages.root)
    assert pages.root.data.tags["mlflow.source.name"] in told
    assert summary["headline"][:60] in told
    for page in (pages.of_run(pages.root), pages.of_experiment()):
        assert pages.charts(page, figures)[0] == f"figures ({figures})"
