"""How much of burnt-in scale bars and info bands is left out, and what is lost to it.

    python benchmarks/left_out.py [FRAMES] [--seed S] [--pictures DIR]

Frames of 1280 x 960 px: as `hptl-deploy synth` prints bars; in the layouts of `left_out_data`, some
made smaller; with info bands; with nothing printed. Frames of 2560 x 1920 px: with short and thin
bars; with nothing printed. A print is found where 98 % of its pixels are left out. Particle pixels
are the truth's; those near the print lie within the rectangle round it and 8 px beyond.
"""

from __future__ import annotations

import argparse
import io
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.left_out_data import (
    Annotated,
    banded,
    block_round,
    draw_camera_layout,
    draw_layout,
    printed,
)
from hptl_deploy.left_out.burnt_in import MARGIN, find_burnt_in
from hptl_deploy.synthesis.canvas import FE, MG2SI
from hptl_deploy.synthesis.frame import BareFrame, make_bare_frame
from hptl_deploy.synthesis.optics import to_jpeg
from hptl_deploy.synthesis.scale_bar import burn_in

HEIGHT, WIDTH = 960, 1280
CAMERA_HEIGHT, CAMERA_WIDTH = 1920, 2560
FOUND = 0.98


@dataclass(frozen=True)
class Outcome:
    """Of one frame. All but `seconds` and `layout` are pixels."""

    printed: int
    caught: int
    """Of `printed`, left out."""
    left_out: int
    particles: int
    lost: int
    """Of `particles`, left out."""
    lost_far: int
    """Of `lost`, neither in the rectangle round the print nor within its margin."""
    area: int
    seconds: float
    layout: str

    @property
    def found(self) -> bool:
        """Whether the print is left out, but for a few pixels."""
        return self.caught >= FOUND * self.printed


def synthetic(bare: BareFrame, *, with_bar: bool) -> Annotated:
    """A frame as `hptl-deploy synth` makes it, or as it would be without the bar."""
    pixels = bare.pixels.copy()
    ink = np.zeros(bare.labels.shape, bool)
    if with_bar:
        ink = burn_in(bare.rng, pixels, bare.camera.pixel_size_um)
    picture = Image.open(io.BytesIO(to_jpeg(pixels, bare.camera))).convert("RGB")
    return Annotated(np.asarray(picture), bare.labels, ink, {})


def judge(seed: int, pictures: Path | None, number: int) -> dict[str, Outcome]:
    """What becomes of one frame, by what is printed on it."""
    bare = make_bare_frame(seed, number, HEIGHT, WIDTH)
    rng = np.random.default_rng([seed, number, 1])
    large = make_bare_frame(seed + 1, number, CAMERA_HEIGHT, CAMERA_WIDTH)
    frames = {
        "synth": synthetic(bare, with_bar=True),
        "layouts": printed(bare, draw_layout(rng, WIDTH)),
        "info bands": banded(rng, bare),
        "nothing printed": synthetic(bare, with_bar=False),
        "camera": printed(large, draw_camera_layout(np.random.default_rng([seed, number, 2]))),
        "camera, nothing printed": synthetic(large, with_bar=False),
    }
    return {
        name: _judged(frame, None if pictures is None else pictures / f"{name} {number:03d}.png")
        for name, frame in frames.items()
    }


def _judged(frame: Annotated, picture: Path | None) -> Outcome:
    start = time.process_time()
    found = find_burnt_in(frame.pixels)
    seconds = time.process_time() - start
    left_out = np.zeros(frame.ink.shape, bool)
    for one in found:
        left_out[one.region.slices] = True
    if picture is not None:
        shown = frame.pixels.copy()
        shown[left_out, 0] = 255
        Image.fromarray(shown).save(picture, compress_level=1)
    particles = (frame.labels == MG2SI) | (frame.labels == FE)
    lost = particles & left_out
    return Outcome(
        int(frame.ink.sum()),
        int((frame.ink & left_out).sum()),
        int(left_out.sum()),
        int(particles.sum()),
        int(lost.sum()),
        int((lost & ~block_round(frame.ink, MARGIN)).sum()),
        left_out.size,
        seconds,
        str(frame.layout),
    )


def report(name: str, outcomes: list[Outcome]) -> None:
    """One line of the table, and the layouts that were missed."""
    printed = [one for one in outcomes if one.printed]
    bare = [one for one in outcomes if not one.printed]
    particles = sum(one.particles for one in outcomes)
    lost = 100 * sum(one.lost for one in outcomes) / particles
    far = 100 * sum(one.lost_far for one in outcomes) / particles
    share = 100 * sum(one.left_out for one in outcomes) / sum(one.area for one in outcomes)
    seconds = sorted(1e6 * one.seconds / one.area for one in outcomes)
    print(
        f"{name}: {sum(one.found for one in printed)} of {len(printed)} prints found; "
        f"{sum(one.left_out > 0 for one in bare)} of {len(bare)} frames without print lose any; "
        f"{share:.2f} % of the area is left out, {lost:.3f} % of {particles} particle pixels, "
        f"{far:.4f} % away from the print; {seconds[len(seconds) // 2]:.3f} s per megapixel, "
        f"at most {seconds[-1]:.3f}"
    )
    for number, one in enumerate(outcomes):
        if not one.found:
            missed = 100 - 100 * one.caught / one.printed
            print(f"  missed {missed:.1f} % of frame {number}: {one.layout}")


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", type=int, nargs="?", default=200)
    parser.add_argument("--seed", type=int, default=2027)
    parser.add_argument("--pictures", type=Path, help="a folder for what is left out, in red")
    options = parser.parse_args()
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
    with Pool() as pool:
        each = partial(judge, options.seed, options.pictures)
        judged = pool.map(each, range(options.frames), chunksize=5)
    for name in judged[0]:
        report(name, [one[name] for one in judged])


if __name__ == "__main__":
    main()
