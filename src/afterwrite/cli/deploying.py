"""`afterwrite synth` and `afterwrite package`: what deploys an app on AWS, the template and the code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from cyclopts import Parameter

from afterwrite.cli.loading import load_app, locate_app
from afterwrite.cli.parameters import Flag, Several
from afterwrite.cli.rendering import bytes_text, count_text, print_json, print_line
from afterwrite.errors import CommandError
from afterwrite.synth import cloudformation, packaging, terraform, views
from afterwrite.synth.stack import Options
from afterwrite.synth.template import synth as template_of

Format: TypeAlias = Literal["cloudformation", "terraform"]

_RENDERERS: Final = {"cloudformation": cloudformation.render, "terraform": terraform.render}


def _runtime(given: str | None) -> str:
    """The runtime that is asked for, by default this Python's. Raises CommandError for one that is no Python's."""
    runtime = given or f"python{sys.version_info.major}.{sys.version_info.minor}"
    packaging.minor_of(runtime)
    return runtime


def synth(
    app: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    format: Format = "cloudformation",
    environment: Several = None,
    pipe: Several = None,
    search: Several = None,
    model: Several = None,
    runtime: str | None = None,
    exact_filters: Flag = False,
) -> None:
    """Write the template that deploys an app on AWS.

    The same app gives the same template, byte by byte. What AWS cannot do as declared is refused; what it does
    otherwise than the declaration reads is noted on standard error and in the template.

    Parameters
    ----------
    app
        The Python file that declares the App.
    out
        The file to write. Default: standard output
    format
        cloudformation (YAML), or terraform (JSON, for the providers awscc and aws).
    environment
        A variable that every function gets, by a parameter that has to be given.
    pipe
        A table whose changes come through an EventBridge Pipe instead of an event source mapping.
    search
        STREAM=INDEX: a delivery stream that fills an OpenSearch index, with its records in the lake as JSON.
    model
        FUNCTION=MODEL: a model of Bedrock that a function may ask, by its id or an ARN.
    runtime
        Lambda's runtime. Default: this Python's
    exact_filters
        Refuse a route whose conditions the service cannot filter by, instead of letting more changes reach it.
    """
    template = template_of(
        load_app(app),
        Options(
            runtime=_runtime(runtime),
            environment=tuple(environment or ()),
            pipes=frozenset(pipe or ()),
            search=dict(_pairs(search or (), "STREAM=INDEX")),
            models=_grouped(_pairs(model or (), "FUNCTION=MODEL")),
            exact_filters=exact_filters,
        ),
    )
    text = _RENDERERS[format](template)
    for note in template.notes:
        print(f"note: {note}", file=sys.stderr)
    if out is None:
        print(text, end="")
        return
    out.write_text(text, encoding="utf-8")
    print_line(f"{out}: {count_text(len(template.resources), 'resource')}, {bytes_text(len(text.encode()))}")


def package(
    app: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    include: Several = None,
    site_packages: Path | None = None,
    runtime: str | None = None,
    architecture: packaging.Architecture = "x86_64",
    json: Flag = False,
) -> None:
    """Write the package that the template's functions run.

    It holds what the app imports and what that imports, and nothing else; the same files give the same package, byte
    by byte. boto3 is Lambda's own.

    Parameters
    ----------
    app
        The Python file that declares the App.
    out
        The ZIP file to write.
    include
        A file or folder beside the app that nothing imports, such as data; or a module that is imported by its name.
    site_packages
        Where the libraries are, such as the target folder of an installation for Lambda's platform. Default: where
        this Python has them
    runtime
        Lambda's runtime, for which compiled libraries must be made. Default: this Python's
    architecture
        x86_64 or arm64, the template's parameter Architecture.
    json
        Print one JSON object.
    """
    found = locate_app(app)
    packed = packaging.package(
        packaging.Entry(found.root, found.module, found.variable),
        out,
        packaging.Target(_runtime(runtime), architecture),
        include=include or (),
        site_packages=site_packages,
        without=views.not_deployed(found.app) | {packaging.NEVER_DEPLOYED},
    )
    if json:
        print_json(
            {
                "file": str(out),
                "files": packed.files,
                "bytes": packed.size_bytes,
                "unpacked_bytes": packed.unpacked_bytes,
                "sha256": packed.sha256,
            }
        )
        return
    print_line(
        f"{out}: {count_text(packed.files, 'file')}, {bytes_text(packed.size_bytes)} "
        f"({bytes_text(packed.unpacked_bytes)} unpacked), sha256 {packed.sha256}"
    )


def _pairs(texts: Sequence[str], form: str) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise CommandError(f"expected {form}, got {text!r}")
        pairs.append((name, value))
    return pairs


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped
