"""Real data by the names users know: `hub:cifar10` from Hugging Face's cache, `folder:data/birds` from a folder of classes.

Nothing is ever downloaded here. `load_dataset`, run once by hand, leaves Arrow files in the cache; they are opened where they
lie, by `Dataset.from_file`, which knows no network. So a cluster job without internet behaves like a laptop, whatever
`HF_HUB_OFFLINE` says. What `hf download` fetches is not enough, for nothing has been prepared from it.

A folder holds `train/<class>/*.png` (or jpg, wav, flac, …) and `test/<class>/…`, `validation/…` or `val/…`: the layout of
Hugging Face's imagefolder and audiofolder. Of one that holds `train` alone, or classes alone, a fifth of each class is tested
on. Classes are numbered, and files ordered, by name.

What is there is pinned (pinned.py): its fingerprint is a folder's identity, and tells a hub's copies apart.

Images: the central square, resized. Sounds: their middle, in background noise, as cochleagrams (decoding.py). The noise is a
random excerpt from `noise/` in the folder or else pink; it is keyed by part and index, so a stimulus never changes.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from jaxtyping import Int64

from generator.curricula.decoding import Item, Pictures, Sounds, reading
from generator.curricula.pinned import Pinned, fingerprint, shown, size
from generator.curricula.stimuli import Part, TaskInfo
from generator.errors import RequestError
from generator.keys import digest, stream

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
SOUNDS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"})
TESTS = ("test", "validation", "val")  # names of the test part, the first that is there
HELD_OUT = 0.2  # share of each class that is tested on where a folder has no test part
GREY = ("1", "L", "LA")  # Pillow's modes without colour
LOOKED_AT = 101  # training stimuli, evenly spaced, that decide on colour or duration


class Known(NamedTuple):
    """What is known of a data set before it is there.

    Args:
        repository: its name on the hub, with `config`; "" for a folder.
        test: the part to test on.
        seconds: duration of its sounds; 0 means images.
        first: what has to be done before it can be had.
    """

    repository: str
    config: str
    test: str
    channels: int
    classes: int
    train_size: int
    test_size: int
    seconds: float = 0.0
    first: str = ""


KNOWN = {
    # A. Krizhevsky, Learning multiple layers of features from tiny images (2009); the card of uoft-cs/cifar10.
    "hub:cifar10": Known("uoft-cs/cifar10", "", "test", 3, 10, 50_000, 10_000),
    # The card of ILSVRC/imagenet-1k. Its own test part has no labels; the validation part takes its place.
    "hub:imagenet-1k": Known(
        "ILSVRC/imagenet-1k", "", "validation", 3, 1000, 1_281_167, 50_000,
        first="accept its terms at https://huggingface.co/datasets/ILSVRC/imagenet-1k, log in with `hf auth login`, and then ",
    ),
    # The card of google/speech_commands, v0.02: 35 words and `_silence_`, a second each (Warden, arXiv:1804.03209, 2018). That
    # repository is a script, which `datasets` no longer runs since version 4; this is a copy by others as Parquet files. That
    # it has the same sizes has not been seen; if not, opening it says so.
    "hub:speech_commands": Known("beeneptune/speech_commands", "v0.02", "test", 1, 36, 84_848, 4_890, seconds=1.0),
    # The paper's audio, Word-Speaker-Noise (Feather et al., NeurIPS 2019), two seconds around a word: sizes and SNR_DB as in
    # Tuckute et al., PLOS Biol. 21, e3002366 (2023), who describe it again. Their networks have one class more, for no word.
    "folder:word-speaker-noise": Known(
        "", "", "test", 1, 793, 230_356, 40_650, seconds=2.0,
        first="ask the authors of Feather et al. (2019) for its recordings and ",
    ),
}  # fmt: skip


class Labelled(NamedTuple):
    """A part as it lies there, undecoded."""

    item: Item
    labels: Int64[np.ndarray, " n"]


class Found(NamedTuple):
    """A data set that is there."""

    kind: str  # "images" or "sounds"
    classes: tuple[str, ...]
    train: Labelled
    test: Labelled
    fingerprint: str
    noise: tuple[Path, ...] = ()


def info(name: str) -> TaskInfo:
    """The description of `hub:…` or `folder:…`. Raises RequestError for what is neither known nor there."""
    name = pinned(name)
    pin, known = Pinned.of(name), _known(name)
    if pin:
        numbers = pin[1:5]
    else:
        assert known  # for what is not known has to be there
        numbers = known.channels, known.classes, known.train_size, known.test_size
    return TaskInfo(*numbers, (), partial(_open, name, numbers[0]), partial(_missing, name))


def pinned(name: str, base: Path = Path()) -> str:
    """`hub:…` or `folder:…` with what is found of it now; of a known set that is not there, its one name alone.

    Args:
        name: left as it is if it says already what was found.
        base: what a folder's path is relative to.

    Raises:
        RequestError: it is neither known nor there, or not as it should be.
    """
    source, _, address = shown(name).partition(":")
    form = r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+){0,2}" if source == "hub" else ".+"
    if source not in ("hub", "folder") or not re.fullmatch(form, address):
        raise RequestError(f"{name!r} is not of the form hub:data, hub:data/configuration or folder:path")
    if Pinned.of(name):
        return name
    if source == "folder":
        try:
            name = f"folder:{os.path.abspath(base / Path(address).expanduser())}"
        except RuntimeError as error:
            raise RequestError(f"{name!r} is in the home folder of a user who is not known here") from error
    else:
        name = next((short for short, known in KNOWN.items() if known is _known(name)), name)
    if not (sentence := _missing(name)):
        return str(_pin(name, _look(name)))
    if not _known(name):
        raise RequestError(sentence)
    return name


def identity(name: str) -> str:
    """What a network's identity, and all that is random about it, rests on: a folder's fingerprint, or a name on the hub."""
    pin = Pinned.of(name)
    if name.startswith("folder:"):
        return f"folder:{pin.fingerprint if pin else Path(name).name}"
    return shown(name)


def _pin(name: str, found: Found) -> Pinned:
    sizes = len(found.train.labels), len(found.test.labels)
    return Pinned(name, _channels(found), len(found.classes), *sizes, found.fingerprint)


def _known(name: str) -> Known | None:
    source, address = shown(name).split(":", 1)
    if source == "folder":
        return KNOWN.get(f"folder:{Path(address).name}")
    return next((known for known in KNOWN.values() if (known.repository, known.config) == _repository(address)), None)


def _repository(address: str) -> tuple[str, str]:
    """Repository and configuration, "" for the only one, of `data`, `data/configuration` or `owner/data/configuration`."""
    first, *rest = address.split("/")
    if known := KNOWN.get(f"hub:{first}"):
        return known.repository, "/".join(rest) or known.config
    return "/".join([first, *rest[:1]]), "/".join(rest[1:])


def _missing(name: str) -> str:
    """One sentence on what has to be done before the data can be opened, or ""."""
    name = shown(name)
    source, address = name.split(":", 1)
    known = _known(name)
    first = known.first if known else ""
    if source == "folder":
        if os.path.isdir(address):
            return _not_installed("soundfile") if known and known.seconds else ""
        if os.path.exists(address):
            return f"{address} has to be a folder of classes, and is a file"
        noise = ", background noise at …/noise/" if known else ""
        classes = f"{address}/train/<class>/ and …/test/<class>/"
        return f"{name} is not there: {first}put its files at {classes}{noise}"
    if sentence := _not_installed("datasets", "soundfile"):
        return sentence
    repository, config = _repository(address)
    copies = _copies(repository, config)
    configs = sorted({copy.parents[1].name for copy in copies})
    if len(configs) > 1:
        return f"{name} is in the cache in several configurations: say which, hub:{repository}/{configs[0]}, …"
    if copies:
        return ""
    call = ", ".join(repr(word) for word in (repository, config) if word)
    command = f'python -c "from datasets import load_dataset; load_dataset({call})"'
    return f"{name} is not in {_cache()}: where there is internet, {first}run {command}"


def _not_installed(*packages: str) -> str:
    """A sentence if one of the packages is not there. This repository's folder `datasets` alone is not the package."""
    for package in packages:
        found = find_spec(package)
        if found is None or found.origin is None:
            return f"the package {package} is not installed: pip install {package}"
    return ""


def _find(name: str) -> Found:
    """Open the data set that a name was pinned to. Raises RequestError if it is no longer the same."""
    found, plain = _look(shown(name)), shown(name)
    if name not in (plain, str(_pin(plain, found))):
        raise RequestError(
            f"{plain} has changed: its files are not those that these networks learn from; bring them back"
        )
    return found


def _look(name: str) -> Found:
    """Open a data set's index: classes, labels and where every stimulus is. Nothing is decoded."""
    source, address = name.split(":", 1)
    known = _known(name)
    found = _in_folder(name, Path(address)) if source == "folder" else _in_cache(name, *_repository(address))
    seen: dict[str, str] = {}
    for label in found.classes:
        if (other := seen.setdefault(unicodedata.normalize("NFC", label), label)) != label:
            raise RequestError(f"two classes of {name} look alike: {_told(other)} and {_told(label)}")
    if known:
        expected = ("sounds" if known.seconds else "images", known.classes, known.train_size, known.test_size)
        actual = (found.kind, len(found.classes), len(found.train.labels), len(found.test.labels))
        if actual != expected:
            words = [f"{kind}, {c:,} classes, {n:,} to train and {m:,} to test" for kind, c, n, m in (actual, expected)]
            raise RequestError(f"{name} is not what it is known to be: it has {words[0]}, not {words[1]}")
    return found


def _in_folder(name: str, root: Path) -> Found:
    test = next((root / part for part in TESTS if os.path.isdir(root / part)), None)
    whole, there = not os.path.isdir(root / "train"), set(_names(root))
    if whole if test else not whole and there > {"train"} | there & {"noise"}:
        raise RequestError(f"{name} has to hold the folders train and test (or validation or val), or train alone")
    if "noise" in there and not os.path.isdir(root / "noise"):
        raise RequestError(f"{root / 'noise'} has to be a folder: of backgrounds, or of a class")
    noise = sorted(file for file in (root / "noise").rglob("[!.]*") if file.suffix.lower() in SOUNDS)
    classes, train_files, train_labels = _list(
        root if whole else root / "train", but="noise" if noise and whole else ""
    )
    if test:
        others, test_files, test_labels = _list(test)
        if classes != others:
            differing = ", ".join(map(_told, sorted(set(classes) ^ set(others))[:3]))
            raise RequestError(
                f"classes of {name} differ between train and {test.name}: only one of them has {differing}"
            )
    else:
        parts = _split(name, classes, train_labels)
        (train_labels, test_labels) = (train_labels[part] for part in parts)
        (train_files, test_files) = ([train_files[place] for place in part] for part in parts)
    sounds = [_suffix(file) in SOUNDS for file in train_files + test_files]
    if any(sounds) and not all(sounds):
        raise RequestError(f"{name} mixes images and sounds")
    noise = noise if any(sounds) else []
    files = fingerprint(root, [*train_files, *test_files, *map(str, noise)])
    train_part, test_part = Labelled(_files(train_files), train_labels), Labelled(_files(test_files), test_labels)
    return Found("sounds" if any(sounds) else "images", classes, train_part, test_part, files, tuple(noise))


def _split(name: str, classes: Sequence[str], labels: Int64[np.ndarray, " n"]) -> list[Int64[np.ndarray, " m"]]:
    """Which files to train and which to test on: a share of every class is held out, keyed by the class's number."""
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for number, label in enumerate(classes):
        places = np.flatnonzero(labels == number)
        if len(places) < 2:
            raise RequestError(f"class {_told(label)} of {name} has one file, too few to hold one out for a test part")
        order = stream("split", "folder", number).permutation(places)
        held = max(1, round(HELD_OUT * len(places)))
        parts[0].append(np.sort(order[held:]))
        parts[1].append(np.sort(order[:held]))
    return [np.concatenate(part) for part in parts]


def _list(folder: Path, but: str = "") -> tuple[tuple[str, ...], list[str], Int64[np.ndarray, " n"]]:
    """Classes, files and labels of a part, ordered by name. Hidden files are passed over, others must be of a known kind."""
    files: list[str] = []
    counts = []
    classes = tuple(label for label in _names(folder) if label != but)
    for label in classes:
        if not os.path.isdir(folder / label):
            raise RequestError(f"{folder / label} has to be a folder: one for each class")
        inside = [os.path.join(folder, label, file) for file in _names(folder / label)]
        odd = next((file for file in inside if _suffix(file) not in IMAGES | SOUNDS), None)
        if odd or not inside:
            raise RequestError(f"{odd} is neither image nor sound" if odd else f"class {folder / label} is empty")
        files += inside
        counts.append(len(inside))
    if not classes:
        raise RequestError(f"{folder} is empty")
    return classes, files, np.arange(len(classes)).repeat(counts)


def _told(label: str) -> str:
    """A class's name; character by character where it could be taken for another one that looks the same."""
    return label if label.isprintable() and unicodedata.is_normalized("NFC", label) else ascii(label)


def _names(folder: Path) -> list[str]:
    with reading(str(folder)):
        return sorted(file for file in os.listdir(folder) if not file.startswith("."))


def _suffix(file: str) -> str:
    return os.path.splitext(file)[1].lower()


def _files(files: list[str]) -> Item:
    return lambda index: (files[index], Path(files[index]))


def _cache() -> Path:
    """Where `datasets` keeps what it has prepared."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_DATASETS_CACHE") or Path(home) / "datasets").expanduser()


def _copies(repository: str, config: str) -> list[Path]:
    """A data set's copies in the cache, the newest last: <owner>___<data>/<configuration>/<version>/<hash>."""
    *owner, data = repository.split("/")
    data = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", data)).lower()
    found = (_cache() / "___".join([*owner, data])).glob(f"{config or '*'}/*/*/dataset_info.json")
    return sorted((file.parent for file in found), key=lambda copy: copy.stat().st_mtime)


def _in_cache(name: str, repository: str, config: str) -> Found:
    folder, known = _copies(repository, config)[-1], _known(name)
    datasets = import_module("datasets")  # slow; by its name, for mypy knows this repository's folder only
    parts = ("train", next((part for part in ([known.test] if known else TESTS) if _shards(folder, part)), ""))
    absent = [part for part in parts if not (part and _shards(folder, part))]
    if absent:
        raise RequestError(f"{name} has no part {absent[0] or 'test or validation'} in {folder}")
    tables = [
        datasets.concatenate_datasets([datasets.Dataset.from_file(str(file)) for file in _shards(folder, part)])
        for part in parts
    ]
    features = tables[0].features
    columns = [column for column, kind in features.items() if isinstance(kind, datasets.Audio | datasets.Image)]
    targets = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if not columns or not targets:
        lacking = "class labels" if columns else "images or sounds"
        raise RequestError(f"{name} has no column of {lacking}: it has {', '.join(features)}")
    column, target = columns[0], "label" if "label" in targets else targets[0]
    names = [tuple(table.features[target].names) for table in tables]
    if names[0] != names[1]:
        raise RequestError(f"classes of {name} differ between its parts {parts[0]} and {parts[1]}")
    kind = type(features[column])(decode=False)
    labelled = []
    for part, table in zip(parts, tables, strict=True):
        labels = table.data.column(target).fill_null(-1).to_numpy().astype("i8")
        if not len(labels) or labels.min() < 0:
            raise RequestError(f"part {part} of {name} is empty or has stimuli without a label")
        rows = table.select_columns([column]).cast_column(column, kind)
        labelled.append(Labelled(_rows(f"{part} of {name}", rows, column), labels))
    sounds = isinstance(features[column], datasets.Audio)
    # Not of its files, which another version of `datasets` writes otherwise: the last of the folder's names is the commit's.
    copy = digest(repr([folder.parts[-3:], names[0], [crc32(each.labels.tobytes()) for each in labelled]]))
    return Found("sounds" if sounds else "images", names[0], labelled[0], labelled[1], copy)


def _shards(folder: Path, part: str) -> list[Path]:
    return sorted([*folder.glob(f"*-{part}.arrow"), *folder.glob(f"*-{part}-?????-of-?????.arrow")])


def _rows(part: str, table: Any, column: str) -> Item:
    """Encoded stimuli of a `datasets.Dataset`, which hold their bytes or say in which file these are."""

    def item(index: int) -> tuple[str, Path | BytesIO]:
        cell = table[index][column]
        if cell["bytes"] is None:
            size(cell["path"])
        data = Path(cell["path"]) if cell["bytes"] is None else BytesIO(cell["bytes"])
        return f"{cell['path'] or 'a stimulus'} (row {index} of {part})", data

    return item


def _open(name: str, channels: int, pixels: int) -> tuple[Part, Part]:
    """`TaskInfo.open`: the training and the test part."""
    if sentence := _missing(name):
        raise RequestError(sentence)
    found, known = _find(name), _known(name)
    if found.kind == "images":
        return Pictures(*found.train, channels, pixels), Pictures(*found.test, channels, pixels)
    seconds = known.seconds if known else _duration(found)
    return (
        Sounds(*found.train, "train", seconds, found.noise, pixels),
        Sounds(*found.test, "test", seconds, found.noise, pixels),
    )


def _looked_at(found: Found) -> Iterator[tuple[str, Path | BytesIO]]:
    """Training stimuli, evenly spaced."""
    count = len(found.train.labels)
    return (found.train.item(int(index)) for index in np.unique(np.linspace(0, count - 1, LOOKED_AT).astype(int)))


def _channels(found: Found) -> int:
    """1 for sounds and if no image looked at has colour, else 3."""
    if found.kind == "sounds":
        if sentence := _not_installed("soundfile"):
            raise RequestError(sentence)
        return 1
    from PIL import Image

    for name, data in _looked_at(found):
        with reading(name), Image.open(data) as image:
            if image.mode not in GREY:
                return 3
    return 1


def _duration(found: Found) -> float:
    """Seconds: the median of the sounds looked at."""
    import soundfile

    durations = []
    for name, data in _looked_at(found):
        with reading(name), soundfile.SoundFile(data) as sound:
            durations.append(sound.frames / sound.samplerate)
    return float(np.median(durations))
