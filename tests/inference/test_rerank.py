"""Documents are sorted by the score that the model gives to each of them with the query."""

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from shared_schemas.models import Model, RerankSpec
from shared_schemas.store.files import ArtifactStore

from tests.support.onnx_models import a_model, bag_of_words, linear, pair_scorer, word_tokenizer
from tests.support.served_model import serving

WORDS = [f"w{i}" for i in range(20)]
SPECIAL = 4
# The score of a word is a hundredth of its number, ten times as much in a document as in a query.
TABLE = np.array([*([0.0] * SPECIAL), *(i / 100 for i in range(len(WORDS)))], dtype=np.float32)
TABLE[0] = 1e6  # padding, which no score may show
CONTEXT = 40


def a_reranker(
    folder: Path,
    *,
    activation: Literal["sigmoid", "identity"] = "identity",
    truncation: Literal["longest_first", "only_second"] = "longest_first",
    onnx_file: bytes | None = None,
    **options: Any,
) -> Model:
    spec = RerankSpec(activation=activation, truncation=truncation)
    given: dict[str, Any] = {"tokenizer": word_tokenizer(WORDS), "context_length": CONTEXT, "rerank": spec, **options}
    file = pair_scorer(TABLE) if onnx_file is None else onnx_file
    return a_model(ArtifactStore(folder), file, task="rerank", **given)


def logit(query: str, document: str) -> float:
    return sum(int(w[1:]) for w in query.split()) / 100 + sum(int(w[1:]) for w in document.split()) / 10


async def test_documents_come_from_the_most_relevant_one_to_the_least(tmp_path: Path) -> None:
    documents = ["w3", "w9 w9 w9", "", "w1 w2 w4", "w3"]

    async with serving(tmp_path, a_reranker(tmp_path)) as model:
        answer = await model.ask({"query": "w5", "documents": documents})
        best = await model.ask({"query": "w5", "documents": documents, "top_n": 2})
        more = await model.ask({"query": "w5", "documents": documents, "top_n": 200})

    assert [each["index"] for each in answer["results"]] == [1, 3, 0, 4, 2]
    for each in answer["results"]:
        assert each["relevance_score"] == pytest.approx(logit("w5", documents[each["index"]]), abs=1e-6)
    assert best == {"results": answer["results"][:2]}
    assert more == answer
    assert set(answer) == {"results"}


async def test_a_sigmoid_makes_a_score_between_0_and_1(tmp_path: Path) -> None:
    table = TABLE.copy()
    table[SPECIAL : SPECIAL + 3] = (-1e9, 0.0, 1e9)

    async with serving(tmp_path, a_reranker(tmp_path, activation="sigmoid", onnx_file=pair_scorer(table))) as model:
        answer = await model.ask({"query": "w1", "documents": ["w0", "w1", "w2", "w3"]})

    assert [each["index"] for each in answer["results"]] == [2, 3, 1, 0]
    assert [each["relevance_score"] for each in answer["results"]] == pytest.approx([1, 1 / (1 + np.exp(-0.3)), 0.5, 0])


async def test_each_document_is_padded_to_its_own_bucket(tmp_path: Path) -> None:
    documents = ["w1 " * n for n in (1, 2, 12, 15, 28, 34)] * 4

    async with serving(tmp_path, a_reranker(tmp_path), max_wait_ms=200.0) as model:
        n_before = await model.count_runs()
        await model.ask({"query": "w1", "documents": documents})
        n_runs = await model.count_runs() - n_before

    assert n_runs == len({16, 24, 32, CONTEXT})


@pytest.mark.parametrize("truncation", ["longest_first", "only_second"])
async def test_a_long_pair_is_cut_and_says_so(
    tmp_path: Path, truncation: Literal["longest_first", "only_second"]
) -> None:
    query, documents = "w1 " * 25, ["w2 " * 100, "w2 " * 5]

    async with serving(tmp_path, a_reranker(tmp_path, truncation=truncation)) as model:
        answer = await model.ask({"query": query, "documents": documents})

    n_query = 25 if truncation == "only_second" else 18
    long, short = sorted(answer["results"], key=lambda each: each["index"])
    assert long["relevance_score"] == pytest.approx(logit("w1 " * n_query, "w2 " * (37 - n_query)), abs=1e-5)
    assert short["relevance_score"] == pytest.approx(logit(query, documents[1]), abs=1e-5)
    assert (long["truncated_tokens"], "truncated_tokens" in short) == (125 - 37, False)
    assert answer["warnings"] == [{"code": "input_truncated"}]


async def test_the_answer_is_the_same_alone_and_in_company(tmp_path: Path) -> None:
    inputs = [{"query": f"w{i}", "documents": [f"w{j}" for j in range(i, i + 6)]} for i in range(8)]

    async with serving(tmp_path, a_reranker(tmp_path, activation="sigmoid"), max_wait_ms=20.0) as model:
        together = await model.outcome(inputs)
        alone = [await model.ask(each) for each in inputs]
        again = await model.outcome(inputs)

    assert msgspec.json.decode(together.result) == alone
    assert together.digest == again.digest


async def test_a_document_that_the_model_cannot_read_loses_no_other(tmp_path: Path) -> None:
    table = TABLE.copy()
    table[SPECIAL + 7] = np.nan
    narrow = a_reranker(tmp_path, onnx_file=pair_scorer(table[:-1]))

    async with serving(tmp_path, narrow, max_wait_ms=20.0) as model:
        answer = await model.ask({"query": "w1", "documents": ["w19", "w7", "w2", "w3"]})
        of_list = await model.ask([{"query": "w1", "documents": ["w19"]}, {"query": "w1", "documents": ["w2"]}])
        failure = await model.failure({"query": "w1", "documents": ["w19", "w19"]})

    assert [each["index"] for each in answer["results"]] == [3, 2, 0, 1]
    failed, not_finite = answer["results"][2:]
    assert failed["error"]["code"] == "model_failed"
    assert failed["relevance_score"] is None
    assert not_finite == {"index": 1, "relevance_score": None}
    assert answer["nonfinite_count"] == 1
    assert ["error" in each for each in of_list] == [True, False]
    assert failure.startswith("model_failed")


async def test_inputs_that_cannot_be_used_fail_alone(tmp_path: Path) -> None:
    good = {"query": "w1", "documents": ["w2"]}
    bad = [{"query": " ", "documents": ["w2"]}, {"query": "w1", "documents": []}, "w1", {"query": "w1"}]

    async with serving(tmp_path, a_reranker(tmp_path)) as model:
        answers = await model.ask([good, *bad, good])

    assert answers[0] == answers[-1]
    assert [answer["error"]["code"] for answer in answers[1:-1]] == ["invalid_input"] * len(bad)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no spec": ({"rerank": None}, "how it scores a document"),
    "no tokenizer": ({"tokenizer": None}, "without a tokenizer"),
    "no room": ({"context_length": 4}, "no room for a query and a document"),
    "two logits": ({"onnx_file": bag_of_words(np.zeros((24, 2), "f"))}, "one logit"),
    "no logits": ({"onnx_file": bag_of_words(np.zeros((24, 1), "f"), output="scores")}, "an output named logits"),
    "no texts": ({"onnx_file": linear(np.eye(2, dtype="f"), np.zeros(2, "f"))}, "takes input_ids"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_model_that_does_not_fit_is_unsupported(tmp_path: Path, wrong: str) -> None:
    options, said = WRONG[wrong]

    async with serving(tmp_path, a_reranker(tmp_path, **options)) as model:
        failure = await model.failure({"query": "w1", "documents": ["w2"]})

    assert failure.startswith("model_unsupported")
    assert said in failure


async def test_the_graph_may_take_no_token_types(tmp_path: Path) -> None:
    mean = bag_of_words(TABLE[:, None])

    async with serving(tmp_path, a_reranker(tmp_path, onnx_file=mean)) as model:
        answer = await model.ask({"query": "w1", "documents": ["w2", "w4"]})

    assert [each["relevance_score"] for each in answer["results"]] == pytest.approx([0.05 / 5, 0.03 / 5])
