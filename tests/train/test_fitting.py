"""A schedule is stretched to the time there is, by timing real steps of its stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lia_live.errors import ConfigError
from lia_live.train.data import Data
from lia_live.train.devices import open_fabric
from lia_live.train.fitting import SLACK, fitting_scale, step_seconds
from lia_live.train.prepared import Prepared
from tests.train import runs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder: Path = runs.write_data(tmp_path_factory.mktemp("runs") / "data")
    return Data.of(Prepared.load(folder))


def test_the_steps_fill_the_time(data: Data) -> None:
    fabric = open_fabric("cpu")
    config = runs.config(replace(runs.STAGE, joint_steps=1000))
    steps = 1000 * fitting_scale(config, data, fabric, minutes=1.0)
    seconds = step_seconds(runs.STAGE, config, data, fabric)
    assert 0.2 < steps * seconds / (SLACK * 60) < 5, "within what a busy machine allows"


def test_no_time_is_refused(data: Data) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        fitting_scale(runs.config(), data, open_fabric("cpu"), minutes=0)
