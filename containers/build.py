"""Build the images of benchmarks and of the analysis: `python -m containers.build [NAME ...]`.

    python -m containers.build --sif                all of them, for Apptainer: what --use-singularity runs in
    python -m containers.build --sif distractor     one, and the base image that it starts from
    python -m containers.build --sif --cuda         with torch for GPUs

Only what changed is built. Images stay in the engine's store as localhost/harmonydream/NAME; containers/built/ gets the
SIF, a bill of materials (NAME.cdx.json), the log, and index.json. pip is given the caller's PIP_INDEX_URL,
PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_DEFAULT_TIMEOUT, and PIP_CERT or SSL_CERT_FILE.
Exit codes: 0 all is built; 2 it is not, and a message says why.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

from agent.files import write_text
from containers import archive, bom, built, engines, images, sif
from containers.context import context
from envs.errors import UserError


class Builder:
    """Builds images with the arguments of one command."""

    def __init__(self, options: argparse.Namespace):
        self._options = options
        self._engine: engines.Engine | None = None
        self._inputs = {name: images.inputs(name) for name in images.names()}  # as they are now, though a build is long

    @property
    def engine(self) -> engines.Engine:
        """Looked for when it is needed: what is up to date needs none."""
        if self._engine is None:
            self._engine = engines.choose(self._options.engine)
            print(f"building with {self._engine.name}", flush=True)
        return self._engine

    def arguments(self, name: str) -> dict[str, str]:
        """The build arguments that make an image what it is."""
        if name != images.BASE:
            return {"BASE_IMAGE": self.tag(images.BASE)}
        given = {"BASE_IMAGE": self._options.base_image} if self._options.base_image else {}
        return {"TORCH": "cuda" if self._options.cuda else "cpu", **given}

    def tag(self, name: str) -> str:
        """Names the image by what goes into it."""
        key = json.dumps([self._inputs[name], self.arguments(name)])
        return f"localhost/harmonydream/{name}:{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def fresh(self, name: str) -> bool:
        """Whether what was asked for is there."""
        record = built.load().get(name)
        if record is None or record.tag != self.tag(name):
            return False
        return built.intact(built.sif_path(name), record.sif) if self.wants_sif(name) else self.engine.holds(record.tag)

    def wants_sif(self, name: str) -> bool:
        """Nothing runs in the base image itself: it is only converted when it is named."""
        return self._options.sif and (name != images.BASE or name in self._options.names)

    def make(self, name: str) -> None:
        """Build an image if the engine lacks it, then write its bill of materials and its SIF."""
        if name != images.BASE and not self.engine.holds(self.tag(images.BASE)):
            self.make(images.BASE)
        started = time.monotonic()
        log = built.FOLDER / f"{name}.log"
        log.write_text("")
        if not self.engine.holds(self.tag(name)):
            self._build(name, log)
        with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
            saved = Path(folder) / "image.tar"
            self.engine.save(self.tag(name), saved, log)
            content = archive.read(saved)
            _check_architecture(name, content.architecture)
            write_text(built.FOLDER / f"{name}.cdx.json", bom.bill(name, content) + "\n")
            if self.wants_sif(name):
                sif.convert(saved, content.digest, built.sif_path(name), log)
        self._note(name, content, round(time.monotonic() - started, 1))

    def _build(self, name: str, log: Path) -> None:
        mirror = {"DEBIAN_MIRROR": self._options.debian_mirror} if self._options.debian_mirror else {}
        print(f"{name}: building, its output goes to {log}", flush=True)
        with context(name) as folder:
            self.engine.build(folder, self.tag(name), {**self.arguments(name), **mirror}, log)

    def _note(self, name: str, content: archive.Content, seconds: float) -> None:
        path = built.sif_path(name)
        record = built.Record(
            inputs=self._inputs[name], tag=self.tag(name), digest=content.digest, architecture=content.architecture,
            torch="cuda" if self._options.cuda else "cpu",
            base=self.arguments(name).get("BASE_IMAGE", "the default of containers/base/Dockerfile"),
            size=content.size, seconds=seconds, date=datetime.date.today().isoformat(),
            sif=built.describe(path) if self.wants_sif(name) else None,
        )  # fmt: skip
        built.save(name, record)
        size = f", SIF {record.sif.size / 1e6:.0f} MB" if record.sif else ""
        print(f"{name}: {record.digest[:19]}, {record.size / 1e6:.0f} MB{size}, {seconds:.0f} s", flush=True)


def _check_architecture(name: str, found: str) -> None:
    if found != (machine := images.architecture()):
        raise UserError(
            f"image {name!r} is for {found}, but this machine is {machine}: give a --base-image for {machine}"
        )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m containers.build", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all by default: {', '.join(images.names())}")
    parser.add_argument("--engine", choices=engines.NAMES, help="default: the first of these that answers")
    parser.add_argument("--sif", action="store_true", help="convert the images for Apptainer")
    parser.add_argument("--cuda", action="store_true", help="torch for GPUs instead of CPUs")
    parser.add_argument("--base-image", metavar="IMAGE", help="start from this Debian 12 instead of the pinned one")
    parser.add_argument("--debian-mirror", metavar="URL", help="for Debian packages; stays in the image's history")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        return _run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except engines.BROKE as error:
        print(f"error: the engine's service failed: {error}; see its own log, or try another --engine", file=sys.stderr)
    except OSError as error:
        print(f"error: {error}; make room there, or set TMPDIR to another disk, and run it again", file=sys.stderr)
    return 2


def _run(options: argparse.Namespace) -> int:
    for name in options.names:
        images.files(name)  # a name that does not exist is an error before anything is built
    if options.sif:
        sif.check_apptainer()
    built.FOLDER.mkdir(exist_ok=True)
    builder = Builder(options)
    return max([_one(builder, name) for name in options.names or images.names()])


def _one(builder: Builder, name: str) -> int:
    """Build one image; one that cannot be built does not keep the others from it, unless it is the base."""
    try:
        if builder.fresh(name):
            print(f"{name}: up to date")
        else:
            builder.make(name)
    except UserError as error:
        if not builder.engine.holds(builder.tag(images.BASE)):
            raise
        print(f"error: {name}: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
