"""What docs/training.md shows runs as it stands there; scripts for clusters with stand-ins."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from nlp_suite.cluster import Cluster

PAGE = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
PYTHON = """
echo "$TF_CONFIG" > "config-$(ls config-* 2> /dev/null | wc -l)"
echo "$@" > arguments
"""
LABELS = {"good": "positive", "bad": "negative"}
SCONTROL = "printf 'node1\\nnode2\\n'"
SRUN = """
shift
for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@"; done
[ -e died ] || { touch died; rm config-*; exit 1; }
"""


def block(page: str, part: str) -> str:
    """The only indented block of the page with some text in it."""
    blocks = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", page, flags=re.MULTILINE)
    (found,) = (dedent(text) for text in blocks if part in text)
    return found.strip("\n")


def run_with_stand_ins(script: str, folder: Path, **environment: str) -> None:
    """Runs a script; in place of training, the stand-in for Python writes what it was given."""
    for name, content in (("python", PYTHON), ("scontrol", SCONTROL), ("srun", SRUN)):
        (folder / name).write_text(f"#!/bin/bash\n{content}")
        (folder / name).chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-c", script], cwd=folder, env={"PATH": path, **environment}, check=True
    )


def clusters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cluster]:
    """The clusters as the processes that were started see them."""
    found = []
    for path in folder.glob("config-*"):
        monkeypatch.setenv("TF_CONFIG", path.read_text())
        found.append(Cluster.from_environment())
    return sorted(found, key=lambda cluster: cluster.index)


def test_the_slurm_script_starts_a_process_on_each_node_and_again_when_one_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_with_stand_ins(block(PAGE, "#SBATCH"), tmp_path)
    assert (tmp_path / "died").exists()
    assert clusters(tmp_path, monkeypatch) == [Cluster(0, 2), Cluster(1, 2)]
    assert '"worker": ["node1:2222","node2:2222"]' in (tmp_path / "config-0").read_text()
    assert (tmp_path / "arguments").read_text().startswith("-m tasks.translation train")


def test_the_pods_of_the_job_find_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, service = yaml.safe_load_all(block(PAGE, "kind: Job"))
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    count, name = spec["completions"], job["metadata"]["name"]
    assert (spec["completionMode"], spec["parallelism"]) == ("Indexed", count)
    for index in range(count):
        run_with_stand_ins(script_of(pod), tmp_path, JOB_COMPLETION_INDEX=str(index))
    assert clusters(tmp_path, monkeypatch) == [Cluster(index, count) for index in range(count)]
    # A pod of an indexed job has the host name JOB-INDEX, in the domain of its headless service.
    for index in range(count):
        assert f'"{name}-{index}.{pod["subdomain"]}:2222"' in (tmp_path / "config-0").read_text()
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"] == {"clusterIP": "None", "selector": {"job-name": name}}


def script_of(pod: dict[str, Any]) -> str:
    (container,) = pod["containers"]
    assert container["command"] == ["bash", "-c"]
    (script,) = container["args"]
    return str(script)


def test_a_task_is_trained_and_used_from_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    rows = [f"{word} film {i}\t{label}" for i in range(40) for word, label in LABELS.items()]
    (tmp_path / "reviews.tsv").write_text("\n".join(["text\tlabel", *rows]))
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    metrics, answer = capsys.readouterr().out.splitlines()[-2:]
    assert "'accuracy'" in metrics
    assert "'label'" in answer
    assert (tmp_path / "saved_models" / "reviews" / "run" / "summary.json").exists()
