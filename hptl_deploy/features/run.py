"""From a model and a micrograph to the figure on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.PngImagePlugin import PngInfo

from hptl_deploy import __version__
from hptl_deploy.errors import MicrographError, UsageError
from hptl_deploy.features.figure import WHITE, Shown, draw_figure
from hptl_deploy.features.layers import Layer, chosen_layers, layers_of
from hptl_deploy.features.maps import LayerMaps, feature_maps
from hptl_deploy.features.part import plan_part
from hptl_deploy.files import atomic_path
from hptl_deploy.micrographs import Page, open_micrograph
from hptl_deploy.segmentation.memory import plan_memory
from hptl_deploy.tiling import Region, Tile, read_padded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hptl_deploy.model import Model, ModelCard
    from hptl_deploy.sink import Sink

MOST_MAPS = 32
"""A row of them is as wide as a page stays readable."""
_DPI = 300
"""Of the figure, as journals print."""


@dataclass(frozen=True)
class FeatureOptions:
    """What is shown, and where it goes."""

    image: Path
    out: Path | None = None
    """A PNG file; None: `<stem of image>_features.png` in the current folder."""
    layers: tuple[str, ...] | None = None
    """Names such as `conv3_4`; None: the last convolution of every block."""
    maps: int = 8
    """Per layer, at most; 1 to `MOST_MAPS`."""
    at: tuple[int, int] | None = None
    """(x, y) of the pixel the part lies round; None: the frame's middle."""

    @property
    def file(self) -> Path:
        """Where the figure goes."""
        return self.out or Path(f"{self.image.stem}_features.png")

    def check(self) -> None:
        """Raise UsageError for what cannot be meant."""
        file = self.file
        if not 1 <= self.maps <= MOST_MAPS:
            raise UsageError(f"--maps {self.maps}: expected 1 to {MOST_MAPS} maps per layer")
        if file.suffix.lower() != ".png":
            raise UsageError(f"--out {file}: expected a name that ends in .png")
        if not file.parent.is_dir():
            raise UsageError(f"--out {file}: there is no folder {file.parent}")
        if file.is_dir():
            raise UsageError(f"--out {file}: is a folder; expected the name of a file")
        if file.exists() and self.image.exists() and file.samefile(self.image):
            raise UsageError(
                f"--out {file}: is the micrograph itself, which must stay as it is",
                hint="Choose another name",
            )


@dataclass(frozen=True)
class Features:
    """What a figure shows."""

    file: Path
    part: Region
    """Of the micrograph."""
    layers: tuple[LayerMaps, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; channels count from 0."""
        return {
            "file": str(self.file),
            "part": {
                "x": self.part.x0,
                "y": self.part.y0,
                "width": self.part.width,
                "height": self.part.height,
            },
            "layers": [
                {
                    "layer": row.layer.name,
                    "channels": row.layer.channels,
                    "pixels_per_map_pixel": float(row.pitch),
                    "shown": list(row.shown),
                    "dead": list(row.dead),
                    "mean": row.mean,
                    "standard_deviation": row.deviation,
                }
                for row in self.layers
            ],
        }


def show_features(options: FeatureOptions, model: Model, sink: Sink) -> Features:
    """Write the figure of `model`'s maps of a micrograph's first page.

    Raises UsageError, ModelError (a graph without such layers), MicrographError (with the
    file's name), EngineError, EnvironmentLacks, and OSError when the figure cannot be written.
    """
    import onnx

    options.check()
    # Its contract has been checked, and that it holds all its weights itself.
    proto = onnx.load(str(model.path), format="protobuf", load_external_data=False)
    layers = chosen_layers(layers_of(proto.graph, str(model.path)), options.layers)
    page, tile, pixels = _read(options, model.card, layers, sink)
    rows = feature_maps(model, proto, layers, pixels, tile, options.maps)
    filled = _filled(tile.keep, model.card.stride)
    shown = Shown(pixels[filled.slices], *tile.write.shape, page.calibration.pixel_size_um)
    figure = draw_figure(shown, rows, _caption(options.image.name, model.card, page, tile.write))
    with atomic_path(options.file) as temporary:
        text = PngInfo()
        text.add_text("Software", f"hptl-deploy {__version__}")
        figure.save(temporary, "PNG", dpi=(_DPI, _DPI), pnginfo=text)
    return Features(options.file, tile.write, tuple(rows))


def _read(
    options: FeatureOptions, card: ModelCard, layers: Sequence[Layer], sink: Sink
) -> tuple[Page, Tile, NDArray[np.uint8]]:
    """The first page, the part of it that is shown, and the pixels of `Tile.read`, [H, W, 3]."""
    image, budget = options.image, plan_memory("cpu").budget
    try:
        with open_micrograph(image) as micrograph:
            if not micrograph.pages:
                raise MicrographError("holds no micrograph")
            if len(micrograph.pages) > 1:
                sink.note(f"{image}: the first of {len(micrograph.pages)} pages is shown")
            page = micrograph.pages[0]
            tile = plan_part(page.height, page.width, card, layers, options.at, budget)
            return page, tile, read_padded(page.read, tile.read, page.height, page.width)
    except MicrographError as exc:
        raise MicrographError(f"{image}: {exc.message}", hint=exc.hint) from exc


def _filled(part: Region, stride: int) -> Region:
    """The part up to the stride's next lines, as its maps are."""
    rows, columns = (-(-length // stride) * stride for length in part.shape)
    return Region(part.y0, part.y0 + rows, part.x0, part.x0 + columns)


def _caption(name: str, card: ModelCard, page: Page, part: Region) -> str:
    size = page.calibration.pixel_size_um
    extent = "" if size is None else f" ({part.width * size:.3g} x {part.height * size:.3g} um)"
    origin = ", which learned from synthetic micrographs alone" if card.synthetic else ""
    caption = (
        f"Feature maps of {card.name} ({card.network}){origin}, behind each layer's Relu. "
        f"Micrograph: {name}, columns {part.x0} to {part.x1 - 1} and rows {part.y0} to "
        f"{part.y1 - 1} of {page.width} x {page.height} px{extent}, averaged over map pixels "
        "larger than its own. Above each map its channel, counted from 0. Of each layer, the map "
        "of the largest spatial variance comes first; every map after it has the largest variance "
        "that those before it leave unexplained. Grey is the square root of the answer, each map "
        f"scaled on its own: black is 0, white the {WHITE}th percentile of what lies above 0. Maps "
        "that answer nowhere are 0 in all of this part."
    )
    return caption.encode("ascii", "replace").decode()  # all that Pillow's own font can write
