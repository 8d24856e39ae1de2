"""Executes the notebooks in docs/notebooks/, each in an empty folder: `make docs` runs this file.

With `--write` their outputs are kept in the repository, without what differs from machine to machine. Fails at the first cell
that raises. Names of notebooks may follow; by default all are executed.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
MOST = 100_000  # bytes of a picture
SECONDS = 600  # for one cell, on a busy machine
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
LANGUAGE = {"language_info": {"name": "python"}}
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with fresh outputs."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as sockets:
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=os.path.join(sockets, "kernel"))
        client = NotebookClient(notebook, km=kernel, timeout=SECONDS, resources={"metadata": {"path": empty}})
        client.execute(env=os.environ | {"OMP_NUM_THREADS": "1"})
    return notebook


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same without progress bars, times and whatever else is this machine's."""
    notebook.metadata = nbformat.from_dict(KERNEL | LANGUAGE)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        cell.outputs = [output for output in cell.outputs if _tells(output)]
        for output in cell.outputs:
            if "metadata" in output:
                output.metadata = {}
            if "text/plain" in output.get("data", {}):
                output.data["text/plain"] = ADDRESS.sub("", output.data["text/plain"])
    return notebook


def _tells(output: nbformat.NotebookNode) -> bool:
    """Whether an output is a result: what is printed, returned or drawn, and no progress bar or warning."""
    if output.output_type == "display_data":
        return "image/png" in output.data
    return not (output.output_type == "stream" and output.name == "stderr")


def problems(notebook: nbformat.NotebookNode) -> list[str]:
    """What must not be committed."""
    found = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = output.get("text", "") + data.get("text/plain", "") + data.get("text/html", "")
            if str(Path.home()) in text or tempfile.gettempdir() in text:
                found.append(f"cell {number} shows a path of this machine")
            if len(data.get("image/png", "")) * 3 // 4 > MOST:
                found.append(f"cell {number} has a picture of more than {MOST} bytes")
    return found


def main(arguments: list[str]) -> int:
    """Exit status 1 if a notebook fails, or holds what must not be committed."""
    warnings.filterwarnings("ignore", category=RuntimeWarning)  # of a socket, when a kernel ends
    names = [each for each in arguments if not each.startswith("--")]
    paths = [FOLDER / f"{each}.ipynb" for each in names] or sorted(FOLDER.glob("*.ipynb"))
    status = 0
    for path in paths:
        begun = time.monotonic()
        notebook = normalise(execute(path))
        print(f"{path.name}: {time.monotonic() - begun:.0f} s", flush=True)
        for problem in problems(notebook):
            print(f"{path.name}: {problem}")
            status = 1
        if "--write" in arguments:
            nbformat.write(notebook, path)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
