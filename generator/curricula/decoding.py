"""Encoded images and sounds as networks see them: decoded when read, squares of numbers in [0, 1] and cochleagrams in noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import ceil, gcd
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from generator.curricula.noise import RATE, pink
from generator.errors import RequestError
from generator.keys import stream

SNR_DB = (-10.0, 10.0)  # sound over background, uniform; as in Word-Speaker-Noise (hub.KNOWN)
SILENCE = 1e-5  # a sound whose samples never exceed it, less than a step of 16 bits, is silent
CHUNK = 16  # cochleagrams of a part made at once, always: with other numbers, or one, their last bits would differ
TOGETHER = 64.0  # seconds of sound that these may have; of longer ones there are fewer
Item = Callable[[int], tuple[str, Path | BytesIO]]  # what to call an encoded stimulus in a sentence, and what to decode


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Whatever a decoder stumbles over becomes one sentence that names the file."""
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error


@dataclass(frozen=True)
class Pictures:
    """A part of images, decoded when read."""

    item: Item
    labels: Int64[np.ndarray, " n"]
    channels: int
    pixels: int

    def read(self, index: Int64[np.ndarray, " m"]) -> Float32[np.ndarray, "m channels pixels pixels"]:
        """The images at `index`, in [0, 1]."""
        images = np.empty((len(index), self.channels, self.pixels, self.pixels), np.float32)
        for place, which in enumerate(index):
            images[place] = decode_image(*self.item(int(which)), self.channels, self.pixels)
        return images


def decode_image(name: str, data: Path | BytesIO, channels: int, pixels: int) -> Float32[np.ndarray, "c pixels pixels"]:
    """The central square of an image, turned as its camera says, at `pixels` to a side (bicubic, antialiased), in [0, 1].

    What is transparent shows white.
    """
    from PIL import Image, ImageOps

    with reading(name), Image.open(data) as opened:
        if opened.mode[0] in "IF":
            raise RequestError(f"{name} has more than 8 bits per channel (Pillow's mode {opened.mode})")
        image = ImageOps.exif_transpose(opened)
        if "A" in image.getbands() or "transparency" in image.info:  # whatever colour lies under what is clear
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB" if channels == 3 else "L")
        side = min(image.size)
        left, top = ((length - side) / 2 for length in image.size)
        square = image.resize((pixels, pixels), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
        return np.asarray(square, np.float32).reshape(pixels, pixels, channels).transpose(2, 0, 1) / 255


@dataclass(frozen=True)
class Sounds:
    """A part of sounds in noise, decoded when read, as images of their cochleagrams.

    Args:
        part: "train" or "test"; with the index, what the noise depends on.
        noise: recordings from which backgrounds are cut; without any, it is pink.
    """

    item: Item
    labels: Int64[np.ndarray, " n"]
    part: str
    seconds: float
    noise: tuple[Path, ...]
    pixels: int

    def read(self, index: Int64[np.ndarray, " m"]) -> Float32[np.ndarray, "m 1 pixels pixels"]:
        """The cochleagrams at `index`."""
        import torch

        from generator.curricula.cochleagram import cochleagram, image

        images = np.empty((len(index), 1, self.pixels, self.pixels), np.float32)
        count = max(1, min(CHUNK, int(TOGETHER / self.seconds)))
        for begin in range(0, len(index), count):
            waves = np.zeros((count, round(self.seconds * RATE)), np.float32)
            some = index[begin : begin + count]
            for place, which in enumerate(some):
                waves[place] = self.mixture(int(which))
            images[begin : begin + count] = image(cochleagram(torch.from_numpy(waves), RATE), self.pixels)[: len(some)]
        return images

    def mixture(self, index: int) -> Float32[np.ndarray, " samples"]:
        """A sound in its noise, at a power of 1. In silence, or with silent noise, the other is heard alone."""
        import torch

        from generator.curricula.cochleagram import add_noise

        samples = round(self.seconds * RATE)
        sound = _centre(decode_sound(*self.item(index), self.seconds, 0.5), samples)
        draw = stream("background", "recordings", self.part, index)
        snr = draw.uniform(*SNR_DB)
        if self.noise:
            file = self.noise[draw.integers(len(self.noise))]
            noise = np.resize(decode_sound(str(file), file, self.seconds, draw.random()), samples)
        else:
            noise = pink(1, samples, draw)[0]
        if sound.any() and noise.any():
            sound = add_noise(torch.from_numpy(sound)[None], torch.from_numpy(noise)[None], snr)[0].numpy()
        elif noise.any():
            sound = noise
        return sound / np.sqrt(max(np.square(sound).mean(), np.float32(SILENCE**2)))


def decode_sound(name: str, data: Path | BytesIO, seconds: float, place: float) -> Float32[np.ndarray, " samples"]:
    """At most `seconds` of a sound, at `place` between its begin (0) and its end (1), at 20 kHz.

    Channels are averaged, an offset is taken away, and what is silent becomes zeros.
    """
    import soundfile
    from scipy.signal import resample_poly

    with reading(name):
        with soundfile.SoundFile(data) as sound:
            rate, frames = sound.samplerate, min(sound.frames, ceil(seconds * sound.samplerate))
            sound.seek(round(place * (sound.frames - frames)))
            wave = sound.read(frames, dtype="float32", always_2d=True).mean(1)
        if not len(wave) or not np.isfinite(wave).all():
            raise RequestError(f"{name} holds no sound, or samples that are no numbers")
        wave -= wave.mean()
        if np.abs(wave).max() < SILENCE:
            wave[:] = 0
        divisor = gcd(rate, RATE)
        return resample_poly(wave, RATE // divisor, rate // divisor).astype(np.float32)


def _centre(wave: Float32[np.ndarray, " before"], samples: int) -> Float32[np.ndarray, " samples"]:
    """Cut off, or add zeros, at both ends."""
    surplus = max(len(wave) - samples, 0) // 2
    wave = wave[surplus : surplus + samples]
    lacking = samples - len(wave)
    return np.pad(wave, (lacking // 2, lacking - lacking // 2))
