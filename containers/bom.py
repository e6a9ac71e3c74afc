"""The bill of materials of an image, in CycloneDX: every Debian and Python package with its version."""

from __future__ import annotations

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from containers.archive import Content, Package


def bill(name: str, content: Content) -> str:
    """The bill as JSON (CycloneDX 1.6)."""
    image = Component(name=name, type=ComponentType.CONTAINER, version=content.digest, bom_ref=name)
    materials = Bom(components=[_component(package, content.architecture) for package in content.packages])
    materials.metadata.component = image
    materials.register_dependency(image, materials.components)
    return JsonV1Dot6(materials).output_as_string(indent=2)


def _component(package: Package, architecture: str) -> Component:
    debian = package.kind == "deb"
    url = PackageURL(
        package.kind, "debian" if debian else None, package.name, package.version,
        {"arch": architecture} if debian else None,
    )  # fmt: skip
    return Component(
        name=package.name, type=ComponentType.LIBRARY, version=package.version, purl=url, bom_ref=str(url),
        licenses=[LicenseExpression(package.license)] if package.license else None,
    )  # fmt: skip
