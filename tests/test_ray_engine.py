from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from groups import run_together
from test_training import assert_same_run, run_program
from tiny import TinyClassifier, TinyConfig

from nlp_suite.errors import UserError
from nlp_suite.ray_engine import train_on_ray

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is an extra")


def test_ray_that_is_not_installed_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"`engine` ray needs Ray.*nlp_suite\[ray\]"):
        train_on_ray(TinyClassifier, TinyConfig(), tmp_path)


@needs_ray
@pytest.mark.slow
def test_a_run_on_ray_survives_the_death_of_a_worker_of_the_chief_and_of_a_node(
    tmp_path: Path,
) -> None:
    """Two processes on three nodes with a core each; the last to die takes its node with it."""
    train_on_three_nodes = """
import sys
from pathlib import Path
from ray.cluster_utils import Cluster
from dying import DyingClassifier
from nlp_suite.ray_engine import train_on_ray
from tiny import TinyConfig

nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
for _ in range(3):
    nodes.add_node(num_cpus=1, object_store_memory=100_000_000)
config = TinyConfig(precision="float32", checkpoint_minutes=0.0, workers=2)
run = train_on_ray(DyingClassifier, config, Path(sys.argv[1]), nodes.address)
assert run.ended == "all 2 epochs are done", run
nodes.shutdown()
"""
    train_undisturbed = """
import sys
from pathlib import Path
from nlp_suite.cluster import Cluster
from nlp_suite.training import train
from tiny import TinyClassifier, TinyConfig

cluster = Cluster.from_environment()
train(TinyClassifier(TinyConfig(precision="float32")), Path(sys.argv[1]), cluster=cluster)
"""
    run_program(train_on_three_nodes, tmp_path / "killed")
    dead = sorted(path.name for path in (tmp_path / "killed").glob("*.dead"))
    assert dead == ["chief.dead", "node.dead", "worker.dead"]
    ended = run_together(train_undisturbed, tmp_path / "whole")
    assert [code for code, _ in ended] == [0, 0]
    assert_same_run(TinyClassifier, tmp_path / "killed", tmp_path / "whole")
