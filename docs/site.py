"""Hooks of MkDocs: pages that lie elsewhere in the repository join the site, and nothing in it is loaded from elsewhere.

In the repository all links are relative to the file that they stand in, so that they work on a code host, too.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
DOCS = "docs"
ELSEWHERE = {  # in the repository: in the site
    "README.md": "start.md",
    "CITATION.cff": "CITATION.cff",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "datasets/README.md": "datasets.md",
    "tests/README.md": "tests.md",
    "tests/benchmarks/README.md": "benchmarks.md",
    "datasets/paper-small.croissant.json": "paper-small.croissant.json",
}
LINK = re.compile(r"(?<=\]\()(?P<target>[^)#:\s]+)(?=[)#])")
SCRIPT = re.compile(r"<script\b[^>]*>.*?</script>", re.DOTALL)
REMOTE = "cdnjs.cloudflare.com"  # notebooks' formulas and diagrams, which ours do not have


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie elsewhere."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=os.fspath(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    here = {page_: source for source, page_ in ELSEWHERE.items()}.get(page.file.src_uri, f"{DOCS}/{page.file.src_uri}")

    def moved(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), found["target"]))
        inside = ELSEWHERE.get(target) or (target.removeprefix(f"{DOCS}/") if target.startswith(DOCS) else "")
        if not inside:
            return found["target"]  # MkDocs says so if it leads nowhere
        return posixpath.relpath(inside, posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(moved, markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Leave out scripts that a notebook's page would load from elsewhere."""
    return SCRIPT.sub(lambda found: "" if REMOTE in found[0] else found[0], output)
