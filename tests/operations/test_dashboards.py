"""The dashboards: committed as generated, and built as Grafana documents it."""

from __future__ import annotations

import itertools
import json

import pytest

from ops.grafana.__main__ import FOLDER, WIDTH, files, main

DASHBOARDS = [json.loads(content) for content in files().values()]


def test_the_committed_files_are_fresh(capsys):
    assert main(["--check"]) == 0, capsys.readouterr().out
    assert set(FOLDER.iterdir()) == set(files())


def test_titles_and_uids_are_unique():
    assert len({board["uid"] for board in DASHBOARDS}) == len(DASHBOARDS) == 2
    assert all(len(board["uid"]) <= 40 for board in DASHBOARDS)


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board["uid"])
def test_panels_have_ids_of_their_own_and_do_not_overlap(board):
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["w"] > 0 and place["h"] > 0 and 0 <= place["x"] <= WIDTH - place["w"]
        assert panel["description"] and panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for one, other in itertools.combinations((panel["gridPos"] for panel in panels), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above


def test_the_data_source_is_the_provisioned_one():
    uid = {panel["datasource"]["uid"] for board in DASHBOARDS for panel in board["panels"]}
    assert uid == {"prometheus"}
    assert "uid: prometheus\n" in (FOLDER.parent / "provisioning/datasources/prometheus.yml").read_text()
