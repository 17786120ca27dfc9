"""The package that the template's functions run: a ZIP file of what the app imports, the same for the same files."""

from __future__ import annotations

import hashlib
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from io import BytesIO
from pathlib import Path
from typing import Final, Literal, TypeAlias

import afterwrite
from afterwrite.errors import CommandError
from afterwrite.synth import imports
from afterwrite.synth.stack import ENTRY_MODULE
from afterwrite.synth.views import CACHE_MODULE, SEARCH_MODULE

Architecture: TypeAlias = Literal["x86_64", "arm64"]

HANDLER_MODULE: Final = "afterwrite.aws_lambda"
PROVIDED: Final = frozenset(("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3"))
"""The libraries that Lambda's Python runtimes bring."""

NEVER_DEPLOYED: Final = "afterwrite.remote.redis_ledger"
"""What the handler would import only for a resource that the template does not have."""
NOT_DEPLOYED: Final = frozenset((NEVER_DEPLOYED, CACHE_MODULE, SEARCH_MODULE))
"""What it would not import for an app without caches and OpenSearch's indexes either."""

_RUNTIME: Final = re.compile(r"python3\.(\d+)")
_MACHINES: Final[Mapping[str, str]] = {"x86_64": "x86_64", "arm64": "aarch64"}
_LEFT_OUT: Final = frozenset((".md", ".pyc", ".pyi", ".typed"))
_UNPACKED_BYTES_MAX: Final = 250 * 1024 * 1024
# The earliest time that a ZIP file knows.
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o100644 << 16
_UNIX: Final = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """Where the App is: `variable` of `module`, which is imported from the folder `root`."""

    root: Path
    module: str
    variable: str


@dataclass(frozen=True, slots=True)
class Target:
    """What the package runs on: Lambda's runtime, such as `python3.13`, and the processors."""

    runtime: str
    architecture: Architecture

    def loads(self, tag: str) -> bool:
        """Whether a wheel with the tag works there, such as `cp313-cp313-manylinux2014_x86_64`."""
        pythons, abi, platform = tag.split("-")
        if platform == "any":
            return True
        if not (platform.startswith(("manylinux", "linux")) and platform.endswith(self.machine)):
            return False
        asked = set(pythons.split("."))
        if abi == "abi3":  # which any later Python loads
            return any(f"cp3{minor}" in asked for minor in range(int(self._minor) + 1))
        exact = f"cp3{self._minor}"
        return (exact in asked and abi in (exact, "none")) or ("py3" in asked and abi == "none")

    @property
    def version(self) -> str:
        """Python's version, such as `3.13`."""
        return f"3.{self._minor}"

    @property
    def machine(self) -> str:
        """The processors as Linux names them."""
        return _MACHINES[self.architecture]

    @property
    def _minor(self) -> str:
        return minor_of(self.runtime)


def minor_of(runtime: str) -> str:
    """The minor version of a runtime, the 13 of python3.13. Raises CommandError for one that is no Python's."""
    matched = _RUNTIME.fullmatch(runtime)
    if matched is None:
        raise CommandError(f"expected a runtime such as python3.13, got {runtime!r}")
    return matched[1]


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written."""

    files: int
    size_bytes: int
    unpacked_bytes: int
    sha256: str


def package(
    entry: Entry,
    out: Path,
    target: Target,
    *,
    include: Sequence[str] = (),
    site_packages: Path | None = None,
    without: frozenset[str] = NOT_DEPLOYED,
) -> Packed:
    """Write the package of an app to `out`.

    `without` are modules that are left out, with what they import: the handler would import them only for what the
    app does not declare. `include` names files and folders of the app's root, or modules, that no import names.
    Raises CommandError for a library that is not there, or not for the target.
    """
    libraries = [site_packages] if site_packages is not None else _installed()
    files = _Collector(entry.root, libraries, target, without).collect([HANDLER_MODULE, entry.module], include)
    files[f"{ENTRY_MODULE}.py"] = _entry_text(entry).encode()
    unpacked = sum(map(len, files.values()))
    if unpacked > _UNPACKED_BYTES_MAX:
        raise CommandError(
            f"expected a package of at most {_UNPACKED_BYTES_MAX} bytes unpacked, got {unpacked}: import less"
        )
    content = _zipped(files)
    out.write_bytes(content)
    return Packed(len(files), len(content), unpacked, hashlib.sha256(content).hexdigest())


def _installed() -> list[Path]:
    return list(dict.fromkeys(Path(path) for path in sys.path if path and Path(path).is_dir()))


def _entry_text(entry: Entry) -> str:
    return (
        f"from {HANDLER_MODULE} import handler as handler_of\n"
        f"from {entry.module} import {entry.variable} as app\n\n"
        "handler = handler_of(app)\n"
    )


def _zipped(files: Mapping[str, bytes]) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = _MODE
            info.create_system = _UNIX
            archive.writestr(info, files[name])
    return packed.getvalue()


class _Collector:
    """Gathers files by their place in the package: modules one by one, other people's libraries whole."""

    def __init__(self, root: Path, libraries: Sequence[Path], target: Target, without: frozenset[str]) -> None:
        self._root = root
        self._without = without
        self._own = {"afterwrite": Path(afterwrite.__file__).parent.parent}
        self._target = target
        self._distributions = _by_name(libraries)
        self._files: dict[str, bytes] = {}
        self._seen: set[str] = set()
        self._taken: set[str] = set()

    def collect(self, modules: Sequence[str], include: Sequence[str]) -> dict[str, bytes]:
        """The files of the modules, of everything that they import, and of what is to be included."""
        waiting = list(modules)
        for name in modules:
            if imports.find(name, [self._root_of(name)]) is None:
                raise CommandError(f"expected the module {name} in {self._root_of(name)}, found none")
        waiting += [name for name in include if not self._add_from_root(name)]
        while waiting:
            name = waiting.pop()
            if name not in self._seen:
                self._seen.add(name)
                waiting += self._add(name)
        return self._files

    def _root_of(self, name: str) -> Path:
        return self._own.get(name.partition(".")[0], self._root)

    def _add(self, name: str) -> list[str]:
        """Take a module; what it imports."""
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in PROVIDED or name in self._without:
            return []
        root = self._root_of(name)
        file = imports.find(name, [root])
        if file is None:
            if top == "afterwrite":
                return _defining(name)
            if imports.find(top, [root]) is None:
                self._add_library(top)
            return []
        if file.is_dir():
            return []
        self._files[file.relative_to(root).as_posix()] = file.read_bytes()
        if file.name == "__init__.py":
            # Prompts are read by the package that they are in, which names them in no import.
            for prompt in sorted(file.parent.glob("*.prompt")):
                self._files[prompt.relative_to(root).as_posix()] = prompt.read_bytes()
        packages = [name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)]
        return [*packages, *(imports.imported(name, file) if file.suffix == ".py" else [])]

    def _add_library(self, module: str) -> None:
        owner = _owner(module, self._distributions.values())
        if owner is None:
            raise CommandError(
                f"the app imports {module}, which is neither beside it nor installed: install it, or name the folder "
                "that it is in as --site-packages"
            )
        self._add_distribution(owner)

    def _add_distribution(self, distribution: Distribution) -> None:
        name = _normalized(distribution.name)
        if name in self._taken:
            return
        self._taken.add(name)
        _check_target(distribution, self._target)
        for file in distribution.files or ():
            is_metadata = file.parts[0].endswith(".dist-info")
            if ".." in file.parts or file.suffix in _LEFT_OUT or (is_metadata and file.name != "METADATA"):
                continue
            place = Path(str(distribution.locate_file(file)))
            if place.is_file():
                self._files[file.as_posix()] = place.read_bytes()
        for required in _requirements(distribution):
            if required in self._distributions:
                self._add_distribution(self._distributions[required])

    def _add_from_root(self, name: str) -> bool:
        place = self._root / name
        if place.is_file():
            self._files[name] = place.read_bytes()
        elif place.is_dir():
            for file in sorted(place.rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    self._files[file.relative_to(self._root).as_posix()] = file.read_bytes()
        return place.exists()


def _defining(name: str) -> list[str]:
    """The module that `afterwrite.NAME` is from, as the package imports some only when they are used."""
    public = name.removeprefix("afterwrite.")
    module = getattr(getattr(afterwrite, public), "__module__", None) if public in afterwrite.__all__ else None
    return [module] if isinstance(module, str) and module.startswith("afterwrite.") else []


def _by_name(libraries: Sequence[Path]) -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    for distribution in distributions(path=[str(path) for path in libraries]):
        found.setdefault(_normalized(distribution.name), distribution)
    return found


def _owner(module: str, every: Iterable[Distribution]) -> Distribution | None:
    """The distribution that brings a module, by its own list of files."""
    beginnings = (f"\n{module}/", f"\n{module}.")
    for distribution in every:
        files = "\n" + (distribution.read_text("RECORD") or "")
        if any(beginning in files for beginning in beginnings):
            return distribution
    return None


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements(distribution: Distribution) -> Iterator[str]:
    """The distributions that it always needs; Lambda's own are left out."""
    for requirement in distribution.requires or ():
        text, _, marker = requirement.partition(";")
        matched = re.match(r"[A-Za-z0-9._-]+", text.strip())
        if matched is not None and "extra" not in marker:
            name = _normalized(matched[0])
            if name.replace("-", "_") not in PROVIDED and name != "python-dateutil":
                yield name


def _check_target(distribution: Distribution, target: Target) -> None:
    tags = re.findall(r"^Tag: (\S+-\S+-\S+)$", distribution.read_text("WHEEL") or "", re.MULTILINE)
    if any(map(target.loads, tags)):
        return
    if tags:
        name = _normalized(distribution.name)
        made_for = ", ".join(tags)
        raise CommandError(
            f"{name} is made for {made_for}, but {target.runtime} on {target.architecture} is asked for: "
            f"pip install --target DIR --platform manylinux2014_{target.machine} --python-version {target.version} "
            f"--only-binary=:all: {name}, then use --site-packages DIR"
        )
