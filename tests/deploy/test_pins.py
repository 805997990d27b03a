"""What the images are built on and what the compose files run is named by
exact version or digest."""

import re
from pathlib import Path

import pytest

from tests.support.gateways import ROOT

FILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
COMPOSE = [ROOT / "compose.yaml", *sorted((ROOT / "deploy").glob("compose*.yaml"))]
_FROM = re.compile(r"^FROM (?P<image>\S+)", re.MULTILINE)
_COPY = re.compile(r"^COPY --from=(?P<image>\S+[/:]\S+)", re.MULTILINE)
_ARG = re.compile(r"^ARG (?P<name>\w+)=(?P<value>\S+)", re.MULTILINE)
_STAGE = re.compile(r"^FROM \S+ AS (?P<name>\S+)", re.MULTILINE)
# Images that are built here have a variable in front.
_OTHERS = re.compile(r"^ +image: ([^$\s]\S*)", re.MULTILINE)
_EXACT = re.compile(r".+(@sha256:[0-9a-f]{64}|:v?\d+\.\d+\.\d+(-\w+)?)")


def base_images(file: Path) -> list[str]:
    """With the arguments of the file filled in."""
    text = file.read_text()
    arguments = {match["name"]: match["value"] for match in _ARG.finditer(text)}
    stages = {match["name"] for match in _STAGE.finditer(text)}
    named = [match["image"] for match in (*_FROM.finditer(text), *_COPY.finditer(text))]
    return [re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], image) for image in named if image not in stages]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_image_is_built_on_exact_versions(file: Path) -> None:
    images = base_images(file)

    assert images
    assert [image for image in images if _EXACT.fullmatch(image) is None] == []


def test_all_images_are_built_on_the_same_versions() -> None:
    names = {image for file in FILES for image in base_images(file)}

    assert len(names) == len({image.partition(":")[0] for image in names})


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_compose_file_runs_exact_versions_of_what_it_does_not_build(file: Path) -> None:
    images = _OTHERS.findall(file.read_text())

    assert [image for image in images if _EXACT.fullmatch(image) is None] == []
