"""A function may ask the models that are named for it, and no other function may."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from cfnlint.api import lint

from afterwrite import App
from afterwrite.cli.loading import locate_app
from afterwrite.errors import DeclarationError
from afterwrite.synth import cloudformation, packaging
from afterwrite.synth.stack import Options
from afterwrite.synth.template import synth
from synth.documents import parsed

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
PROFILE = "arn:aws:bedrock:eu-west-1:111122223333:inference-profile/eu.anthropic.claude-sonnet-4-20250514-v1:0"
MANGA_ASSIST = Path(__file__).resolve().parents[2] / "apps" / "manga_assist" / "app.py"


def an_app() -> App:
    app = App("shop")
    app.table("orders", partition_key="PK")

    @app.function()
    def summarize(request: Any, context: Any) -> None: ...

    @app.function()
    def count(request: Any, context: Any) -> None: ...

    return app


def asking(document: Any) -> dict[str, Any]:
    """The resources that roles may ask, by role."""
    return {
        id: statement["Resource"]
        for id, resource in document["Resources"].items()
        if resource["Type"] == "AWS::IAM::Role"
        for policy in resource["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == ["bedrock:InvokeModel"] or "bedrock:InvokeModel" in statement["Action"]
    }


def test_a_function_asks_the_models_that_are_named_and_no_other_does() -> None:
    template = synth(an_app(), Options(models={"summarize": [HAIKU, PROFILE]}))
    found = asking(parsed(template))
    assert list(found) == ["SummarizeFunctionRole"]
    foundation, profile = found["SummarizeFunctionRole"]
    assert f"::foundation-model/{HAIKU}" in str(foundation)
    assert "*" not in str(foundation)
    assert profile == PROFILE
    assert [found for found in lint(cloudformation.render(template)) if found.rule.id.startswith("E")] == []


def test_without_models_nobody_asks() -> None:
    assert asking(parsed(synth(an_app(), Options()))) == {}


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ({"nobody": [HAIKU]}, "functions of the app to give models to, got nobody"),
        ({"summarize": ["*"]}, "a foundation model's id"),
        ({"summarize": ["arn:aws:bedrock:*::foundation-model/*"]}, "one model's ARN"),
        ({"summarize": [f"eu.{HAIKU}"]}, "for an inference profile give its ARN"),
    ],
)
def test_models_that_are_not_named_are_refused(models: Any, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        synth(an_app(), Options(models=models))


def test_the_package_has_the_prompt(tmp_path: Path) -> None:
    found = locate_app(MANGA_ASSIST)
    entry = packaging.Entry(found.root, found.module, found.variable)
    packaging.package(entry, tmp_path / "app.zip", packaging.Target(f"python3.{sys.version_info.minor}", "x86_64"))
    with ZipFile(tmp_path / "app.zip") as package:
        assert "afterwrite/summaries/summary.prompt" in package.namelist()
