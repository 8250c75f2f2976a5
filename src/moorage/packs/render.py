"""From a layer of a cluster to the objects that are applied."""

from moorage.kit.errors import FieldFault, InvalidError
from moorage.packs.flannel import FLANNEL
from moorage.packs.model import Pack, RenderedLayer
from moorage.resources.cluster import Cluster, Layer

PACKS: dict[str, Pack] = {pack.name: pack for pack in (FLANNEL,)}
"""Every pack that comes with Moorage, by name."""


def render_layer(layer: Layer, cluster: Cluster) -> RenderedLayer:
    """Render one layer; raises ``InvalidError`` that names the field and what there is instead."""
    names = [other.name for other in cluster.spec.layers]
    place = names.index(layer.name) if layer.name in names else layer.name
    path = f"spec.layers[{place}]"
    pack = PACKS.get(layer.pack)
    if pack is None:
        raise InvalidError(
            f"there is no pack {layer.pack}",
            (FieldFault(f"{path}.pack", f"choose one of {', '.join(sorted(PACKS))}"),),
        )
    version = _version(pack, layer, path)
    values = pack.read_values(layer.values, f"{path}.values")
    return RenderedLayer(
        pack=pack.name, version=version, objects=pack.render(version, values, cluster)
    )


def _version(pack: Pack, layer: Layer, path: str) -> str:
    asked = layer.version or pack.default_version
    version = asked if asked.startswith("v") else f"v{asked}"
    if version not in pack.versions:
        raise InvalidError(
            f"pack {pack.name} has no version {asked}",
            (FieldFault(f"{path}.version", f"choose one of {', '.join(pack.versions)}"),),
        )
    return version
