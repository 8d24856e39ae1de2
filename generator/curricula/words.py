"""`words`: which of eight words does a voice say, in noise? Synthetic speech, heard through a cochleagram. [ours]

It stands in for the paper's Word-Speaker-Noise curriculum, recorded speech that cannot be shipped: labels are words, voices
and background vary, and what a network sees is the paper's cochleagram. The voices of the test part say nothing in the
training part. A word is a sequence of two to four phones with formants F1–F3: vowels after Peterson & Barney (J. Acoust.
Soc. Am. 24, 1952), consonants after Klatt (J. Acoust. Soc. Am. 67, 1980), both for adult men.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from generator.curricula.noise import RATE, pink
from generator.keys import stream


class Phone(NamedTuple):
    """A segment of speech: voiced through formants, or the hiss of a fricative around one frequency.

    Args:
        formants: F1–F3 in Hz. In a hiss they are not heard, but the vowel next to it starts from them.
        seconds: how long it lasts at tempo 1.
        loudness: gain.
        hiss: centre of the hiss in Hz; 0 means voiced.
    """

    formants: tuple[float, float, float]
    seconds: float
    loudness: float = 1.0
    hiss: float = 0.0


PHONES = {
    "i": Phone((270, 2290, 3010), 0.12),
    "ɛ": Phone((530, 1840, 2480), 0.10),
    "ɑ": Phone((730, 1090, 2440), 0.10),
    "ɔ": Phone((570, 840, 2410), 0.12),
    "u": Phone((300, 870, 2240), 0.12),
    "j": Phone((260, 2070, 3020), 0.06, 0.7),
    "w": Phone((290, 610, 2150), 0.06, 0.7),
    "n": Phone((480, 1340, 2470), 0.06, 0.4),
    "s": Phone((320, 1390, 2530), 0.10, 0.12, hiss=5500),
    "ʃ": Phone((300, 1840, 2750), 0.10, 0.12, hiss=3000),
}
WORDS = {
    "see": "si",
    "shoe": "ʃu",
    "we": "wi",
    "you": "ju",
    "yes": "jɛs",
    "wash": "wɔʃ",
    "sauce": "sɔs",
    "nine": "nɑin",
}
PARTS = {"train": (35, 5), "test": (16, 4)}  # voices, and how often each says each word
SNR_DB = (-6.0, 6.0)  # speech over background, uniform
TALKERS = 4  # in babble

BLOCK, BLOCKS = 200, 50  # samples in 10 ms, and how many of these a stimulus has
SECONDS = BLOCK * BLOCKS / RATE
BANDWIDTHS = (80.0, 100.0, 150.0)  # of the formants, Hz
HISS_WIDTH = 0.3  # standard deviation of the logarithm of frequency


class Voices(NamedTuple):
    """Speakers, one entry each."""

    pitch: Float64[np.ndarray, " n"]  # fundamental frequency in Hz
    tract: Float64[np.ndarray, " n"]  # factor on all formants: the shorter the vocal tract, the higher
    tempo: Float64[np.ndarray, " n"]  # speaking rate
    jitter: Float64[np.ndarray, " n"]  # relative deviation of the pitch from one 10 ms to the next
    breath: Float64[np.ndarray, " n"]  # noise in voiced sound, relative to its pulses


def load(pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cochleagrams (n, 1, pixels, pixels) and labels of the training and the test part."""
    return *part("train", pixels), *part("test", pixels)


def part(name: str, pixels: int) -> tuple[Float32[np.ndarray, "n 1 pixels pixels"], Int64[np.ndarray, " n"]]:
    """One part, word by word, in pink noise and in babble by turns."""
    import torch  # only here: reading other tasks must not wait for it

    from generator.curricula.cochleagram import add_noise, cochleagram, image

    speakers = voices(name)
    speech = np.stack(
        [speak(phones, speakers, stream("speech", "words", name, word)) for word, phones in WORDS.items()]
    )
    images = []
    for label, word in enumerate(WORDS):
        draw = stream("background", "words", name, word)
        clean, noise = torch.from_numpy(speech[label]), np.empty_like(speech[label])
        noise[::2] = pink(len(noise[::2]), BLOCK * BLOCKS, draw)
        noise[1::2] = babble(speech, label, len(noise[1::2]), draw)
        ratios = draw.uniform(*SNR_DB, len(clean))
        mixture = add_noise(clean, torch.from_numpy(noise), torch.from_numpy(ratios).float())
        images.append(image(cochleagram(mixture / mixture.square().mean(1, keepdim=True).sqrt(), RATE), pixels).numpy())
    return np.concatenate(images), np.arange(len(WORDS)).repeat(speech.shape[1])


def voices(name: str) -> Voices:
    """The speakers of a part, each as often as it says a word. Formants rise with pitch as from men to women to children."""
    count, repeats = PARTS[name]
    draw = stream("voices", "words", name)
    pitch = np.exp(draw.uniform(np.log(90), np.log(280), count))
    tract = (pitch / 120) ** 0.3 * np.exp(draw.normal(0, 0.03, count))
    tempo = np.exp(draw.uniform(np.log(0.8), np.log(1.25), count))
    jitter, breath = draw.uniform(0.005, 0.02, count), draw.uniform(0.05, 0.3, count)
    return Voices(*(trait.repeat(repeats) for trait in (pitch, tract, tempo, jitter, breath)))


def speak(phones: str, speakers: Voices, draw: np.random.Generator) -> Float32[np.ndarray, "n samples"]:
    """Every speaker says the phones once, beginning at a random time.

    Source and filter: pulses and noise, cut into Hann windows of two blocks, each filtered by the formants of its middle.
    """
    n, table = len(speakers.pitch), [PHONES[phone] for phone in phones]
    seconds = np.array([phone.seconds for phone in table]) * np.exp(draw.normal(0, 0.1, (n, len(table))))
    ends = (seconds / speakers.tempo[:, None]).cumsum(1)
    onset = draw.random(n) * np.maximum(SECONDS - ends[:, -1], 0)
    since = np.arange(BLOCKS + 1) * (BLOCK / RATE) - onset[:, None]  # seconds from the onset to each window's middle
    said = (since[:, :, None] >= ends[:, None]).sum(2)  # phones that are over
    index = said.clip(max=len(table) - 1)
    hissing = np.array([phone.hiss > 0 for phone in table])[index]
    heard = (since >= 0) & (said < len(table))
    loudness = np.array([phone.loudness for phone in table])[index] * heard

    formants = np.array([phone.formants for phone in table]) * np.exp(draw.normal(0, 0.03, (n, len(table), 3)))
    tracks = _smooth(formants[np.arange(n)[:, None], index], 5) * speakers.tract[:, None, None]
    frequencies = np.fft.rfftfreq(2 * BLOCK, 1 / RATE)
    voiced = _resonances(tracks.astype("f4"), frequencies.astype("f4"))
    voiced *= _smooth((loudness * ~hissing)[..., None], 3).astype("f4")
    hisses = [place for place, phone in enumerate(table) if phone.hiss]
    peaks = np.array([table[place].hiss for place in hisses]) * speakers.tract[:, None]
    shapes = np.exp(-0.5 * (np.log(np.maximum(frequencies, 1) / peaks[..., None]) / HISS_WIDTH) ** 2)
    amounts = _smooth(loudness[..., None] * (index[..., None] == hisses), 3)
    gain = voiced + (amounts @ shapes).astype("f4")

    source = _source(speakers, ~hissing[:, :-1], draw)
    padded = np.pad(source, ((0, 0), (1, 1), (0, 0)))
    windows = np.concatenate([padded[:, :-1], padded[:, 1:]], 2) * np.hanning(2 * BLOCK + 1)[:-1].astype("f4")
    filtered = np.fft.irfft(np.fft.rfft(windows) * gain)
    return (filtered[:, :-1, BLOCK:] + filtered[:, 1:, :BLOCK]).reshape(n, -1)


def _source(speakers: Voices, voiced: np.ndarray, draw: np.random.Generator) -> Float32[np.ndarray, "n blocks block"]:
    """What the formants filter, at unit power: glottal pulses with some breath in voiced blocks (n, blocks), else noise."""
    n, blocks = voiced.shape
    fall = draw.normal(-0.2, 0.1, (n, 1)) * np.linspace(-0.5, 0.5, blocks)
    pitch = speakers.pitch[:, None] * (1 + fall) * np.exp(speakers.jitter[:, None] * draw.standard_normal(voiced.shape))
    cycles = np.floor((pitch / RATE).repeat(BLOCK, 1).cumsum(1) + draw.random((n, 1)))
    pulses = np.diff(cycles, prepend=0).astype("f4").reshape(n, blocks, BLOCK)
    noise = draw.standard_normal(pulses.shape, np.float32)
    strength, breath = np.sqrt(RATE / pitch) * voiced, np.where(voiced, speakers.breath[:, None], 1)
    return pulses * strength[..., None].astype("f4") + noise * breath[..., None].astype("f4")


def _resonances(tracks: Float32[np.ndarray, "n t 3"], frequencies: Float32[np.ndarray, " bins"]) -> np.ndarray:
    """Gain (n, t, bins) of three resonators side by side, those above 500 Hz weaker by 6 dB per octave."""
    gain = np.zeros((*tracks.shape[:2], len(frequencies)), np.float32)
    for formant, bandwidth in zip(np.moveaxis(tracks, 2, 0)[..., None], BANDWIDTHS, strict=True):
        gain += (500 / formant) / np.sqrt(1 + ((frequencies - formant) * np.float32(2 / bandwidth)) ** 2)
    return gain


def _smooth(x: Float64[np.ndarray, "n t c"], width: int) -> Float64[np.ndarray, "n t c"]:
    """Weighted mean over `width` (odd) neighbours in time, the ends repeated."""
    weights = np.hanning(width + 2)[1:-1]
    padded = np.pad(x, ((0, 0), (width // 2, width // 2), (0, 0)), "edge")
    return sum(w * padded[:, i : i + x.shape[1]] for i, w in enumerate(weights / weights.sum()))


def babble(
    speech: Float32[np.ndarray, "words n samples"], label: int, count: int, draw: np.random.Generator
) -> Float32[np.ndarray, "count samples"]:
    """Several utterances of other words than the label's, each shifted round by another share of the stimulus."""
    words, utterances, samples = speech.shape
    total = np.zeros((count, samples), np.float32)
    for talker in range(TALKERS):
        others = (label + draw.integers(1, words, count)) % words
        total += np.roll(speech[others, draw.integers(0, utterances, count)], talker * samples // TALKERS, 1)
    return total
