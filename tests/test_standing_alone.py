"""Exports where TensorFlow alone can be imported answer as the Keras model does here."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, cycle, islice
from typing import Any

import call_alone
import numpy as np
import pytest
import tensorflow as tf
from cases import HARD_TEXTS, TASKS, Case, as_bytes, tiny_case
from test_images import JPEGS, SAMPLES, png_that_claims

from nlp_suite.export import export
from nlp_suite.signatures import Signature

LONG_TEXT = b"so " * 3_333 + b"x"
"""10,000 characters."""
MEMORY = 500 * 10**6
"""Bytes that an image which is refused may cost at most."""

pytestmark = pytest.mark.slow

Call = Callable[[str, Mapping[str, Any], Mapping[str, Any]], Any]
"""Answers a signature, its inputs and its options."""


@pytest.fixture(scope="module", params=TASKS)
def case(request: pytest.FixtureRequest) -> Case:
    return tiny_case(request.param)


def requests(case: Case, signature: Signature) -> Iterator[dict[str, Any]]:
    """Gives inputs for a signature: each hard one alone, all in a batch of 32; or one by one."""
    hard = list(hard_inputs(case))
    easy = [{k: as_bytes(v) for k, v in row.items()} for row in case.raw_inputs]
    for row in hard:
        row["target"] = easy[0]["target"] = b"so \xff"
    if not any(spec.shape.rank for spec in signature.inputs.values()):
        yield from ({name: row[name] for name in signature.inputs} for row in (*easy[:1], *hard))
        return
    batch = list(islice(cycle(chain(hard, easy)), 32))
    for rows in ([hard[-1]], batch):
        yield {name: [row.get(name, b"so") for row in rows] for name in signature.inputs}


def hard_inputs(case: Case) -> Iterator[dict[str, bytes]]:
    """Gives what users send: every kind of image, or texts that nobody would train on."""
    if "image" in case.task.serving_inputs:
        yield from ({"image": content} for content, _ in (*SAMPLES.values(), *JPEGS.values()))
    else:
        yield from ({"text": text} for text in (*HARD_TEXTS, LONG_TEXT))


@pytest.fixture(scope="module")
def alone(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """Calls signatures of the exported task in a process of its own."""
    exported = export(case.task, case.model, tmp_path_factory.mktemp(case.task.name))
    with subprocess.Popen(
        [sys.executable, "-I", call_alone.__file__, str(exported)],
        env={"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def call(signature: str, inputs: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
            given = {name: in_base64(value) for name, value in inputs.items()}
            request = {"signature": signature, "inputs": given, "options": dict(options)}
            assert process.stdin is not None
            assert process.stdout is not None
            print(json.dumps(request), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield call


def in_base64(value: Any) -> Any:
    if isinstance(value, list):
        return [in_base64(item) for item in value]
    return base64.b64encode(value).decode()


def assert_equal(outputs: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compares texts and ids exactly, numbers to 1e-5."""
    assert outputs.keys() == expected.keys()
    for name, value in outputs.items():
        if expected[name].dtype.is_floating:
            np.testing.assert_allclose(value, expected[name], atol=1e-5, err_msg=name)
        else:
            assert value == call_alone.readable(expected[name]), name


def test_a_decompression_bomb_is_refused_in_one_line_and_little_memory(
    case: Case, alone: Call
) -> None:
    if "image" not in case.task.serving_inputs:
        pytest.skip("reads no images")
    bombs = [png_that_claims(side, side) for side in (22_000, 60_000)]
    for signature, images in (("single", bombs[0]), ("single", bombs[1]), ("beam", bombs)):
        options = case.task.signatures(case.model)[signature].options
        answer = alone(signature, {"image": images}, options)
        assert "`image` must be whole and of at most 25000000 pixels." in answer["refused"]
        assert answer["grown"] < MEMORY


def test_every_signature_answers_as_the_model_does(case: Case, alone: Call) -> None:
    for name, signature in case.task.signatures(case.model).items():
        specs = dict(signature.inputs)
        specs |= {
            key: tf.TensorSpec([], tf.constant(v).dtype) for key, v in signature.options.items()
        }
        function = tf.function(
            lambda arguments, call=signature.function: call(**arguments),
            input_signature=[specs],
            autograph=False,
        )
        for inputs in requests(case, signature):
            answer = alone(name, inputs, signature.options)
            tensors = {**inputs, **signature.options}
            assert_equal(
                answer["outputs"],
                function({key: tf.constant(value) for key, value in tensors.items()}),
            )
