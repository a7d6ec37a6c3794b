"""From the specimen's brightness to a camera's picture, and to the file it is stored in."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

from hptl_deploy import __version__
from hptl_deploy.micrographs.jpeg import exif_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hptl_deploy.synthesis.conditions import Camera


def photograph(
    rng: np.random.Generator, brightness: list[NDArray[np.float32]], camera: Camera
) -> NDArray[np.uint8]:
    """The camera's picture, uint8 [H, W, 3], before it is stored.

    `brightness` is float32 [H, W] per channel, relative to the matrix's mean. Light falls on it,
    the lens blurs, the camera's curve, its noise and its sharpening follow.
    """
    height, width = brightness[0].shape
    light = _light(height, width, camera)
    sharp = _sharpness(height, width, camera)
    fine = _noise(rng, height, width, camera)
    planes: list[NDArray[np.uint8]] = []
    for channel in range(3):
        if camera.monochrome and planes:
            planes.append(planes[0])
            continue
        plane = _blurred(brightness[channel], camera.blur[channel], camera.defocus, sharp)
        plane = camera.matrix[channel] / 255 * light * np.maximum(plane, 0)
        plane = (
            255
            * np.minimum(plane, 4) ** camera.tone
            * (camera.matrix[channel] / 255) ** (1 - camera.tone)
        )
        # Photon noise grows with the root of the level; a share is common to the channels,
        # which a colour mosaic's interpolation shares out.
        own = _noise(rng, height, width, camera)
        grain = camera.noise * (0.6 * fine + 0.8 * own)
        plane += grain * np.sqrt(np.maximum(plane, 8) / camera.matrix[channel])
        if camera.sharpening:
            plane += camera.sharpening * (plane - ndimage.gaussian_filter(plane, 1.5, truncate=3))
        planes.append(np.rint(plane.clip(0, 255)).astype(np.uint8))
    return np.stack(planes, axis=-1)


def _noise(
    rng: np.random.Generator, height: int, width: int, camera: Camera
) -> NDArray[np.float32]:
    """Noise of mean 0 and deviation 1, float32 [H, W]."""
    noise: NDArray[np.float32] = rng.standard_normal((height, width), dtype=np.float32)
    if camera.noise_grain:
        noise = ndimage.gaussian_filter(noise, camera.noise_grain, truncate=3)
        noise /= noise.std()
    return noise


def _light(height: int, width: int, camera: Camera) -> NDArray[np.float32]:
    """Illumination relative to its brightest place, float32 [H, W]."""
    y = (np.arange(height, dtype=np.float32) / height - camera.centre[0])[:, None]
    x = (np.arange(width, dtype=np.float32) / width - camera.centre[1])[None, :]
    radius = (y**2 + x**2) / 0.5  # about 1 in the corners
    light = 1 - camera.falloff * radius + camera.tilt[0] * y + camera.tilt[1] * x
    return light.astype(np.float32, copy=False)


def _sharpness(height: int, width: int, camera: Camera) -> NDArray[np.float32] | None:
    """Share of the sharp picture, float32 [H, W], where a tilted specimen leaves the focus."""
    if not camera.defocus:
        return None
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    away = y * (camera.centre[0] - 0.5) + x * (camera.centre[1] - 0.5)
    share = 1 - np.clip(away / max(float(away.max()), 1e-6), 0, 1)
    return share.astype(np.float32, copy=False)


def _blurred(
    plane: NDArray[np.float32],
    blur: float,
    defocus: float,
    sharpness: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    sharp: NDArray[np.float32] = ndimage.gaussian_filter(plane, blur, truncate=3)
    if sharpness is None:
        return sharp
    soft = ndimage.gaussian_filter(sharp, defocus, truncate=3)
    mixed: NDArray[np.float32] = sharpness * sharp + (1 - sharpness) * soft
    return mixed


def to_jpeg(pixels: NDArray[np.uint8], camera: Camera) -> bytes:
    """`pixels`, uint8 [H, W, 3], as a JPEG file whose EXIF states the pixel size."""
    exif = exif_of(f"hptl-deploy {__version__} synth", camera.pixel_size_um)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(
        stream,
        "JPEG",
        quality=camera.jpeg_quality,
        subsampling=camera.jpeg_subsampling,
        exif=exif,
    )
    return stream.getvalue()
