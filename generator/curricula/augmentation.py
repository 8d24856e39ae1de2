"""Random views of images, on their device and keyed: crop, flip, colour jitter, grey, blur (Chen et al. 2020, appendix A).

Stimuli are standardised, not in [0, 1], so brightness is a shift in units of the data's standard deviation, and nothing is
clipped; hue is a rotation of the chroma plane. Strengths are those of SimCLR for small images. [ours]
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from generator.counters import derive, uniform

AREA = (0.2, 1.0)  # share of the image that a crop keeps
ASPECT = (3 / 4, 4 / 3)
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.4, 0.4, 0.4, 0.1  # hue in turns
JITTERED, GREY, BLURRED = 0.8, 0.2, 0.5  # probabilities
SIGMA = (0.1, 2.0)  # of the blur, in pixels of an image of 224
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601

Draw = Callable[..., Tensor]  # draw(name, low=0, high=1): a number for every image


def augment(x: Float[Tensor, "k b c h w"], keys: Int64[Tensor, " k"]) -> Float[Tensor, "k b c h w"]:
    """A random view of every image. The same keys give the same views."""

    def draw(name: str, low: float = 0.0, high: float = 1.0) -> Float[Tensor, " n"]:
        """A number from [low, high) for every image."""
        return (low + (high - low) * uniform(derive(keys, name), x.shape[1:2])).flatten().to(x.dtype)

    images = x.flatten(0, 1)
    images = _crop_and_flip(images, draw)
    if x.shape[2] == 3:
        jittered = _jitter(images, draw)
        images = torch.where(_column(draw("whether to jitter") < JITTERED), jittered, images)
        images = torch.where(_column(draw("grey") < GREY), _grey(images).expand_as(images), images)
    else:
        shift = draw("brightness", -BRIGHTNESS, BRIGHTNESS), draw("contrast", 1 - CONTRAST, 1 + CONTRAST)
        images = torch.where(_column(draw("whether to jitter") < JITTERED), _lighting(images, *shift), images)
    images = torch.where(_column(draw("whether to blur") < BLURRED), _blur(images, draw("sigma", *SIGMA)), images)
    return images.contiguous(memory_format=torch.channels_last).unflatten(0, x.shape[:2])


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _crop_and_flip(images: Float[Tensor, "n c h w"], draw: Draw) -> Float[Tensor, "n c h w"]:
    """A part of random area and aspect at a random place, scaled to the whole (bilinear), mirrored half of the time."""
    area, aspect = draw("area", *AREA), draw("aspect", *map(math.log, ASPECT)).exp()
    wide, high = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    mirror = torch.where(draw("flip") < 0.5, -1.0, 1.0).to(images.dtype)
    zero = torch.zeros_like(wide)
    left, top = ((1 - wide) * draw("left", -1.0, 1.0)), ((1 - high) * draw("top", -1.0, 1.0))
    rows = [torch.stack([wide * mirror, zero, left], 1), torch.stack([zero, high, top], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _lighting(images: Float[Tensor, "n c h w"], shift: Tensor, contrast: Tensor) -> Float[Tensor, "n c h w"]:
    middle = images.mean((1, 2, 3), keepdim=True)
    return (images - middle) * _column(contrast) + middle + _column(shift)


def _grey(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 h w"]:
    return (images * images.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


def _jitter(images: Float[Tensor, "n 3 h w"], draw: Draw) -> Float[Tensor, "n 3 h w"]:
    """Brightness, contrast, saturation and hue, in this order."""
    shift = draw("brightness", -BRIGHTNESS, BRIGHTNESS), draw("contrast", 1 - CONTRAST, 1 + CONTRAST)
    images = _lighting(images, *shift)
    grey = _grey(images)
    chroma = (images - grey) * _column(draw("saturation", 1 - SATURATION, 1 + SATURATION))
    return grey + torch.einsum("nij,njhw->nihw", _rotation(draw("hue", -HUE, HUE) * (2 * math.pi)), chroma)


def _rotation(angle: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    """Rotations of colour about the grey axis (Rodrigues' formula), which leave R + G + B alone."""
    cosine, sine = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    one = torch.eye(3, dtype=angle.dtype, device=angle.device)
    cross = angle.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cosine * one + sine * cross + (1 - cosine) / 3


def _blur(images: Float[Tensor, "n c h w"], sigma: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """A Gaussian of its own width for every image; edges are mirrored."""
    side = images.shape[-1]
    reach = min(max(1, round(0.05 * side)), side - 1)  # half of a kernel of a tenth of the image
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    width = (sigma * (side / 224)).clamp(min=0.1)
    kernel = torch.exp(-0.5 * (offsets / width[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    for axis in (2, 3):
        pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded = F.pad(images, pad, mode="reflect")
        images = torch.zeros_like(images)
        for i in range(len(offsets)):
            images.addcmul_(padded.narrow(axis, i, side), _column(kernel[:, i]))
    return images
