"""What is not as published is said before anything starts, and once."""

from unittest.mock import patch

import pytest

from search.driver import launch
from search.errors import SteppeError
from tests.search.play import record, small_sweep


def test_a_launch_says_what_is_not_as_published_and_a_resume_does_not(folder, capsys):
    sweep = small_sweep(search={"space": {"lr": {"log_uniform": [1e-2, 1e-1]}}})

    def begin():
        stop = patch.object(launch, "prepare_environment", side_effect=SteppeError("stopped here"))
        with stop, pytest.raises(SteppeError, match="stopped here"):
            launch.launch(sweep, folder)
        return capsys.readouterr().out

    told = begin()
    assert "Note: lr 0.001 (DomainBed's defaults" in told
    assert "{log_uniform: [0.001, 0.1]}" in told
    record(sweep, folder)
    assert "Note" not in begin()
