"""What builds images: a Docker or podman service through its socket, or the podman or buildah command, rootless."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import docker
import requests

from containers.trouble import explain, run
from envs.errors import UserError

NAMES = ("docker", "podman", "buildah")
BROKE = (docker.errors.DockerException, requests.RequestException)  # a service that fails while it works
NO_ENGINE = (
    "no container engine answers: install podman or buildah (`sudo apt-get install podman`; it runs without root), or "
    "start Docker. Where that is not possible, build on another machine and copy its containers/built/ here"
)


class Engine(Protocol):
    name: str

    def build(self, context: Path, tag: str, arguments: Mapping[str, str], log: Path) -> None:
        """Build the Dockerfile in `context`; what the engine says goes into `log`. Raises UserError."""

    def holds(self, tag: str) -> bool:
        """Whether the engine has an image of that tag."""

    def save(self, tag: str, archive: Path, log: Path) -> None:
        """Write the image as a docker-archive. Raises UserError."""


def choose(wanted: str | None = None) -> Engine:
    """The engine of that name, or the first that answers. Raises UserError if there is none."""
    for name in [wanted] if wanted else NAMES:
        if client := _connect(name):
            return SocketEngine(name, client)
        if name != "docker" and shutil.which(name):
            return CommandEngine(name)
    raise UserError(f"--engine {wanted} is not here, or does not answer" if wanted else NO_ENGINE)


def _connect(name: str) -> docker.DockerClient | None:
    """The service of an engine, if it answers."""
    if name == "docker":
        address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    elif name == "podman":
        address = f"unix://{os.environ.get('XDG_RUNTIME_DIR', '/run') if os.getuid() else '/run'}/podman/podman.sock"
    else:
        return None
    try:
        client = docker.DockerClient(base_url=address, timeout=3600)
        client.ping()
    except BROKE:
        return None
    return client


class SocketEngine:
    """A service that speaks Docker's interface."""

    def __init__(self, name: str, client: docker.DockerClient):
        self.name, self._client = f"{name} (socket)", client

    def build(self, context: Path, tag: str, arguments: Mapping[str, str], log: Path) -> None:
        said = self._client.api.build(
            path=str(context),
            tag=tag,
            buildargs=dict(arguments),
            network_mode="host",
            rm=True,
            forcerm=True,
            decode=True,
        )
        begin = log.stat().st_size
        with log.open("a") as file:
            problems = [self._note(message, file) for message in said]
        if any(problems):
            raise explain(f"{tag} could not be built", log, begin)

    @staticmethod
    def _note(message: Mapping[str, str], file) -> bool:
        """Write down what the service says; True if it is an error."""
        file.write(message.get("stream", "") + message.get("error", ""))
        file.flush()
        return "error" in message

    def holds(self, tag: str) -> bool:
        try:
            self._client.images.get(tag)
        except docker.errors.ImageNotFound:
            return False
        return True

    def save(self, tag: str, archive: Path, log: Path) -> None:
        with archive.open("wb") as file:
            for chunk in self._client.images.get(tag).save(chunk_size=2**20, named=True):
                file.write(chunk)


class CommandEngine:
    """podman or buildah without a service. Isolation by chroot needs neither a runtime nor control groups."""

    def __init__(self, name: str):
        self.name = name

    def build(self, context: Path, tag: str, arguments: Mapping[str, str], log: Path) -> None:
        options = ["--isolation=chroot", "--network=host", "--format=docker", "--layers=false", f"--tag={tag}"]
        options += [f"--build-arg={key}={value}" for key, value in arguments.items()]
        run([self.name, "build", *options, str(context)], log, f"{tag} could not be built")

    def holds(self, tag: str) -> bool:
        command = [self.name, "inspect", "--type=image", "--format=found", tag]
        return subprocess.run(command, capture_output=True).returncode == 0

    def save(self, tag: str, archive: Path, log: Path) -> None:
        where = f"docker-archive:{archive}:{tag}"
        run([self.name, "push", "--quiet", tag, where], log, f"{tag} could not be written to {archive}")
