"""What the nodes of a cluster are given; sweeps/test_interruption.py looks at one of its own."""

from __future__ import annotations

import json
import socket

import pytest

from search.driver.cluster import _no_answer, runtime_environment
from search.driver.ray_environment import CHECKOUT, ENVIRONMENT, prepare_environment
from search.driver.slots import Slots
from search.sweep.schema import Resources
from tests.search.command import refused, write_yaml
from tests.search.play import small_sweep

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def test_the_checkout_travels_without_data_runs_and_caches():
    prepare_environment()
    code = runtime_environment()
    assert code["working_dir"] == str(CHECKOUT)
    assert {"runs", "data", ".git"} <= set(code["excludes"])
    assert code["env_vars"].keys() == ENVIRONMENT.keys()


def test_what_a_job_gives_is_not_given_twice(monkeypatch):
    prepare_environment()
    name = next(iter(ENVIRONMENT))
    job = {"runtime_env": {"working_dir": "gcs://code.zip", "env_vars": {name: "1"}}}
    monkeypatch.setenv(JOB, json.dumps(job))
    code = runtime_environment()
    assert "working_dir" not in code
    assert code["env_vars"].keys() == ENVIRONMENT.keys() - {name}


def test_in_a_jobs_copy_the_run_must_be_given_a_place(monkeypatch, tmp_path):
    file = write_yaml(tmp_path / "sweep.yaml", small_sweep().model_dump(mode="json"))
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {"working_dir": "gcs://code.zip"}}))
    message = refused("launch", file, "--address", "127.0.0.1:1")
    assert "copy that is deleted with the job" in message
    assert "--output" in message


@pytest.mark.parametrize(
    ("asked", "node", "fit"),
    [
        ({"cpu": 1}, {"CPU": 8}, 8),
        ({"cpu": 4, "gpu": 0.25}, {"CPU": 64, "GPU": 2}, 8),
        ({"cpu": 1, "gpu": 0.1}, {"CPU": 64, "GPU": 1}, 10),  # shares that do not divide exactly
        ({"cpu": 1, "memory": 4}, {"CPU": 64, "memory": 17e9}, 4),
        ({"cpu": 1, "gpu": 1}, {"CPU": 64}, 0),
    ],
)
def test_a_node_has_as_many_places_as_its_scarcest_resource(asked, node, fit):
    assert Slots(Resources(**asked).as_ray_resources())._fit(node) == fit


def test_a_cluster_that_asks_for_a_token_says_how_to_give_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        without = RuntimeError("Token authentication is enabled but no token was found")
        another = ConnectionError(f"Failed to connect to Ray cluster at {address}")
        for error in (without, another):
            assert "RAY_AUTH_TOKEN_PATH" in str(_no_answer(address, error))
    # Where nobody listens, no cluster answers.
    assert "RAY_AUTH" not in str(_no_answer(address, ConnectionError(f"cannot reach {address}")))
