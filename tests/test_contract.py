"""What every folder in tasks/ must fulfil, whoever wrote it.

Each task is made tiny: small layers, few and short examples of its own builtin data, and weights as
they are drawn.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from cases import HARD_TEXTS, ROOT, TASKS, Case, as_bytes, assert_same, tiny_case
from starlette.testclient import TestClient

from nlp_suite import standalone
from nlp_suite.datasets import Example, Examples
from nlp_suite.ensembles import Ensemble
from nlp_suite.export import export
from nlp_suite.runs import WEIGHTS, open_run, restore, save_weights
from nlp_suite.serving.app import make_app
from nlp_suite.serving.models import load_models
from nlp_suite.text import PAD


@pytest.fixture(scope="module", params=TASKS)
def case(request: pytest.FixtureRequest) -> Case:
    return tiny_case(request.param)


@pytest.fixture(scope="module")
def exported(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a version, where the README expects it."""
    root = tmp_path_factory.mktemp(case.task.name)
    return export(case.task, case.model, root / "saved_models" / case.task.name / "exported")


def dense(value: Any, extra: int = 0) -> Any:
    """Pads ragged sequences to the longest and `extra` steps more; leaves others as they are."""
    if not isinstance(value, tf.RaggedTensor):
        return value
    return value.to_tensor(PAD, shape=[None, int(value.bounding_shape()[1]) + extra])


def padded(inputs: dict[str, Any], extra: int = 0) -> dict[str, Any]:
    return {name: dense(value, extra) for name, value in inputs.items()}


def mean_loss(case: Case, inputs: dict[str, Any], targets: Any) -> Any:
    losses, weights = case.task.loss(case.model(inputs, training=False), targets)
    return tf.reduce_sum(losses * weights) / tf.reduce_sum(weights)


def test_the_name_is_the_folders(case: Case) -> None:
    package = type(case.task).__module__.split(".")
    assert package == ["tasks", case.task.name, "task"]


def test_tokenizers_cut_no_text_that_the_data_may_have(case: Case) -> None:
    config = replace(case.task.config, max_characters=50_000)
    tokenizers = type(case.task)(config).learn_tokenizers(case.task.examples("train"))
    limits = [t.max_characters for t in tokenizers.values() if hasattr(t, "max_characters")]
    assert limits
    assert set(limits) == {50_000}


def test_encode_traces_with_an_unknown_batch_size(case: Case) -> None:
    spec = {name: tf.TensorSpec([None], tf.string) for name in case.batch}
    encode = tf.function(case.task.encode, input_signature=[spec])
    for value in tf.nest.flatten(encode.get_concrete_function().structured_outputs):
        assert value.shape[0] is None
    for rows in (1, 3):
        inputs, targets = encode({name: values[:rows] for name, values in case.batch.items()})
        for value in (*inputs.values(), targets):
            assert dense(value).shape[0] == rows


def test_no_sequence_is_empty(case: Case) -> None:
    texts = {f.name for f in case.task.open_dataset().features if f.kind == "text"}
    blank = {name: "" if name in texts else value for name, value in case.rows[0].items()}
    inputs, targets = case.task.encode({name: tf.constant([v]) for name, v in blank.items()})
    for value in (*inputs.values(), targets):
        if isinstance(value, tf.RaggedTensor):
            assert int(value.row_lengths()[0]) >= 1


def test_logits_are_float32_and_match_the_targets(case: Case) -> None:
    inputs, targets = case.task.encode(case.batch)
    logits = case.model(padded(inputs), training=False)
    assert logits.dtype == tf.float32
    targets = dense(targets)
    if targets.dtype.is_floating:  # probabilities of the classes
        assert logits.shape == targets.shape
        np.testing.assert_allclose(tf.reduce_sum(targets, axis=-1), 1.0, atol=1e-6)
    else:
        assert logits.shape[:-1] == targets.shape
        assert int(tf.reduce_max(targets)) < logits.shape[-1]


def test_the_loss_falls_when_one_batch_is_overfitted(case: Case) -> None:
    inputs, targets = case.task.encode(case.batch)
    inputs, targets = padded(inputs), dense(targets)
    weights = case.model.trainable_weights
    before = [tf.identity(weight) for weight in weights]
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build(weights)

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = mean_loss(case, inputs, targets)
        optimizer.apply(tape.gradient(loss, [w.value for w in weights]), weights)
        return loss

    losses = [float(step()) for _ in range(40)]
    for weight, value in zip(weights, before, strict=True):
        weight.assign(value)
    assert losses[-1] < 0.7 * losses[0]


def test_the_gradient_reaches_every_weight(case: Case) -> None:
    inputs, targets = case.task.encode(case.batch)
    weights = case.model.trainable_weights
    with tf.GradientTape() as tape:
        loss = mean_loss(case, padded(inputs), dense(targets))
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    reached = [
        g is not None and bool(tf.reduce_any(tf.convert_to_tensor(g) != 0)) for g in gradients
    ]
    assert [w.path for w, is_reached in zip(weights, reached, strict=True) if not is_reached] == []


def test_padding_does_not_change_the_logits(case: Case) -> None:
    inputs, targets = case.task.encode(case.batch)
    logits = case.model(padded(inputs), training=False).numpy()
    longer = case.model(padded(inputs, extra=3), training=False).numpy()
    real = dense(targets).numpy() != PAD if isinstance(targets, tf.RaggedTensor) else slice(None)
    window = tuple(slice(size) for size in logits.shape)
    np.testing.assert_allclose(longer[window][real], logits[real], atol=1e-5)


def test_the_company_in_a_batch_does_not_change_a_prediction(case: Case) -> None:
    together = list(case.task.predictions(case.model, case.raw_inputs))
    alone = list(case.task.predictions(case.model, case.raw_inputs, batch_size=1))
    assert_same(together, alone)


def test_the_score_has_the_metrics_that_are_watched(case: Case) -> None:
    measured = case.task.score(case.model, case.rows)
    assert {"loss", *measured}.issuperset(case.task.watched)
    assert not (case.task.monitor == "loss" and case.task.wants_more())


def test_an_evaluation_ranks_counts_and_draws(case: Case, tmp_path: Path) -> None:
    examples = Examples.of(case.rows)
    outcomes = list(case.task.outcomes(case.model, examples))
    agreements = [case.task.agreement(*pair) for pair in zip(examples, outcomes, strict=True)]
    assert np.isfinite(agreements).all()
    _, rows, score = case.task.statistics(examples, outcomes)
    assert len(rows) == len(case.rows)
    assert np.isfinite(score(rows.sum(axis=0)))
    case.task.plot(case.model, examples, outcomes, tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_an_ensemble_of_equals_answers_as_one_alone(case: Case) -> None:
    twins = Ensemble([case.model, case.model])
    alone = list(case.task.predictions(case.model, case.raw_inputs))
    assert_same(list(case.task.predictions(twins, case.raw_inputs)), alone)
    assert case.task.score(twins, case.rows) == pytest.approx(
        case.task.score(case.model, case.rows), rel=1e-4
    )


def test_carrying_the_state_is_like_reading_at_once(case: Case) -> None:
    if not case.task.carries_state:
        pytest.skip("reads each example anew")
    inputs, _ = case.task.encode(case.batch)
    tokens = tf.reshape(inputs["tokens"].flat_values[:24], [2, 12])
    at_once = case.model({"tokens": tokens}, training=False)
    state, parts = case.model.zero_state(2), []
    for begin in (0, 5):
        window = {"tokens": tokens[:, begin : begin + 5 if begin == 0 else None]}
        logits, state = case.model.call_with_state(window, state, training=False)
        parts.append(logits)
    np.testing.assert_allclose(tf.concat(parts, axis=1), at_once, atol=1e-5)


def test_a_restored_run_predicts_the_same(case: Case, tmp_path: Path) -> None:
    open_run(case.task, tmp_path, {})
    save_weights(case.model, tmp_path / WEIGHTS)
    task, model = restore(type(case.task), tmp_path)
    assert_same(
        list(task.predictions(model, case.raw_inputs)),
        list(case.task.predictions(case.model, case.raw_inputs)),
    )


@pytest.mark.slow
def test_the_export_alone_predicts_the_same(case: Case, exported: Path) -> None:
    rows = [*case.raw_inputs, *hard_inputs(case)]
    lines = [
        json.dumps({k: base64.b64encode(as_bytes(v)).decode() for k, v in row.items()})
        for row in rows
    ]
    done = subprocess.run(
        [sys.executable, "-I", standalone.__file__, str(exported)],
        input="\n".join(lines),
        env={"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert_same(answers, list(case.task.predictions(case.model, rows)))


def test_the_model_card_warns_of_the_training_data_that_an_export_holds(
    case: Case, exported: Path
) -> None:
    card = (exported / "model_card.md").read_text()
    held = case.task.remembered
    assert bool(held) == (case.task.name == "translation")  # these captions come without a memory
    assert (f"{held} of its training data, word for word" in card) == bool(held)


def test_the_readme_shows_how_to_load_the_export(
    case: Case,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    shown = [block for block in blocks if f"saved_models/{case.task.name}/" in block]
    if not shown:
        pytest.skip("the README shows no export of this task; a new one need not be there")
    (code,) = shown
    monkeypatch.chdir(exported.parents[3])
    if "image" in case.task.serving_inputs:
        Path("image.png").write_bytes(as_bytes(case.raw_inputs[0]["image"]))
    exec(code, {})
    assert len(code.splitlines()) <= 10
    assert capsys.readouterr().out.strip()


def test_the_server_answers_the_request_that_is_documented(case: Case, exported: Path) -> None:
    pages = (ROOT / "docs" / "exports.md").read_text()
    shown = re.findall(r"(/v1/models/(\w+):predict) \\\n *-d '(.*)'", pages)
    requests = [(route, body) for route, name, body in shown if name == case.task.name]
    if not requests:
        pytest.skip("no request is shown for this task; a new one need not be there")
    ((route, body),) = requests
    headers = {"Content-Type": "application/json"}
    with TestClient(make_app(load_models(exported.parents[2])), headers=headers) as client:
        response = client.post(route, content=body)
    assert response.status_code == 200
    assert len(response.json()["predictions"]) == len(json.loads(body)["instances"])


def hard_inputs(case: Case) -> Iterator[Example]:
    if len(case.task.serving_inputs) == 1 and "image" not in case.task.serving_inputs:
        (name,) = case.task.serving_inputs
        for text in HARD_TEXTS:
            yield {name: text}
