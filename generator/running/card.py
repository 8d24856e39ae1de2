"""A dataset's card for machines: Croissant 1.0, the JSON-LD of MLCommons (Akhtar et al. 2024, 2403.19546)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from generator.dataset.schema import KINDS, NETWORKS, header, observables
from generator.observables import statistics
from generator.spec.spec import Spec

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "equivalentProperty": "cr:equivalentProperty",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
PAPER = (
    "Nayebi, Srivastava, Ganguli & Yamins. Identifying Learning Rules From Neural Network Observables. NeurIPS 2020."
)
MOST_NAMES = 100  # that a description spells out; a sampled design has as many architectures and tasks as shapes
ABOUT = {
    "observables": "a row per network × layer × checkpoint × electrode",
    "networks": "a row per network: what it is and what became of it",
}


def card(spec: Spec, published: str, licence: str = "https://opensource.org/license/mit") -> dict[str, Any]:
    """The card of a spec's dataset. `published` is a date, YYYY-MM-DD."""
    networks = spec.networks
    schemas = {"observables": observables(statistics(spec.measured)), "networks": NETWORKS}
    return {
        "@context": CONTEXT,
        "@type": "Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": spec.name,
        "description": (
            f"Statistics of weights, activations and layer-wise activity changes of {len(networks):,} networks, "
            f"{sum(len(network.sizes) for network in networks):,} layers in all, at {spec.checkpoints} checkpoints of learning. "
            f"Rules: {_list(network.rule.label for network in networks)}. "
            f"Architectures: {_list(network.architecture for network in networks)}. "
            f"Tasks: {_list(network.task for network in networks)} ({_list(network.objective for network in networks)}). "
            f"Electrodes: {_list(electrode.name for electrode in spec.electrodes)}."
        ),
        "version": version("rulescope"),
        "datePublished": published,
        "license": licence,
        "citeAs": PAPER,
        "url": "https://arxiv.org/abs/2010.11765",
        "creator": {"@type": "Organization", "name": "Rulescope"},
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": f"{kind}-files",
                "description": f"{ABOUT[kind]}; a file per cohort of networks that were trained together, or for many cohorts",
                "encodingFormat": "application/x-parquet",
                "includes": f"{kind}/*.parquet",
            }
            for kind in KINDS
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": kind,
                "description": ABOUT[kind],
                "field": [_field(kind, field, meanings) for field in schema],
            }
            for kind, schema in schemas.items()
            for meanings in [_meanings(schema)]
        ],
    }


def _list(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    return ", ".join(found[:MOST_NAMES] + [f"{len(found) - MOST_NAMES:,} more"] * (len(found) > MOST_NAMES))


def _meanings(schema: pa.Schema) -> dict[str, str]:
    about = header(schema, "the schema")
    return about["columns"] | {name: parts["meaning"] for name, parts in about.get("statistics", {}).items()}


def _field(kind: str, field: pa.Field, meanings: dict[str, str]) -> dict[str, Any]:
    number = pa.types.is_integer(field.type), pa.types.is_floating(field.type)
    return {
        "@type": "cr:Field",
        "@id": f"{kind}/{field.name}",
        "description": meanings[field.name],
        "dataType": {(True, False): "sc:Integer", (False, True): "sc:Float"}.get(number, "sc:Text"),
        "source": {"fileSet": {"@id": f"{kind}-files"}, "extract": {"column": field.name}},
    }


def to_json(found: dict[str, Any]) -> bytes:
    """The card as it is written."""
    return json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n"
