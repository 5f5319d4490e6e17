"""What is not as published is said before anything starts, and once."""

import pytest

from search.checks.load_sweep import checked
from search.driver import launch
from search.errors import SteppeError
from search.run.run_folder import SWEEP, RunFolder
from search.study.resolved_sweep import as_yaml
from tests.search.refused import SWEEP as SMALL
from tests.search.refused import space


def test_a_launch_says_what_is_not_as_published_and_a_resume_does_not(
    tmp_path, monkeypatch, capsys
):
    def stop(local: bool) -> None:
        raise SteppeError("nothing is to start")

    monkeypatch.setattr(launch, "prepare_environment", stop)
    sweep = checked({**SMALL, "search": space(lr={"log_uniform": [1e-2, 1e-1]})}, "x")
    folder = RunFolder.create(str(tmp_path / "run"))

    with pytest.raises(SteppeError, match="nothing is to start"):
        launch.launch(sweep, folder)
    told = capsys.readouterr().out
    folder.write_bytes(SWEEP, as_yaml(sweep).encode())
    with pytest.raises(SteppeError, match="nothing is to start"):
        launch.launch(sweep, folder)

    assert "Note: lr 0.001 (DomainBed's defaults" in told
    assert "{log_uniform: [0.001, 0.1]}" in told
    assert "Note" not in capsys.readouterr().out
