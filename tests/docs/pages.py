"""The code of README and of the pages in docs/: `make docs` runs this file, `make test` does not.

A page's Python blocks run in order, as one script, in a folder that holds what a reader of the page has: a small dataset in the
demo's place, one with electrodes, a trained model. Commands must parse; files that a page names must exist. A block under the
line `<!-- not run -->` is not run.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import small
import tomli_w
import typer

import rulescope as rs

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ALL = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "datasets/README.md", "tests/README.md"))]
BLOCK = re.compile(r"(?P<mark><!-- not run -->\n)?^```(?P<kind>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
FOLDERS = ("classifier", "docs", "generator", "tests")
COMMANDS = typer.main.get_command(rs.command_line()).commands  # type: ignore[attr-defined]
SPEC = small.SPEC | {"name": "demo"}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *kinds: str) -> list[str]:
    """The code blocks of a page that are in these languages and not marked."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [block["code"] for block in found if block["kind"] in kinds and not block["mark"]]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "datasets").mkdir()
    for place in ("demo", "datasets/demo.toml"):  # one's own file goes before the one that comes along
        (folder / place).write_text(tomli_w.dumps(SPEC))
    rs.generate(SPEC, folder / "datasets" / "demo", workers=0)
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_runs(page: Path, reader: Path) -> None:
    (reader / "script.py").write_text("\n".join(blocks(page, "python")))
    found = subprocess.run([sys.executable, "script.py"], cwd=reader, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=name)
def test_toml_is_accepted(page: Path, tmp_path: Path) -> None:
    """A whole spec, or the [cluster] table of one."""
    for block in blocks(page, "toml"):
        whole = block if block.startswith("name") else f"{tomli_w.dumps(SPEC)}\n{block}"
        (tmp_path / "spec.toml").write_text(whole)
        assert rs.plan(tmp_path / "spec.toml").networks > 0


@pytest.mark.parametrize("page", ALL, ids=name)
def test_commands_parse(page: Path) -> None:
    for line in "".join(blocks(page, "sh", "")).replace("\\\n", " ").splitlines():
        if line.startswith("rulescope "):
            command, *arguments = shlex.split(line.partition(" > ")[0], comments=True)[1:]
            COMMANDS[command].make_context(command, arguments)  # raises for what it does not know


@pytest.mark.parametrize("page", ALL, ids=name)
def test_commands_in_sentences_exist(page: Path) -> None:
    for code in INLINE.findall(page.read_text(encoding="utf-8")):
        words = code.split()
        if words[0] == "rulescope" and len(words) > 1 and words[1].isalpha() and words[1].islower():
            parameters = COMMANDS[words[1]].params
            known = {option for one in parameters for option in (*one.opts, *one.secondary_opts)}
            assert {word for word in words[2:] if word.startswith("--")} <= known | {"--help"}, code


@pytest.mark.parametrize("page", ALL, ids=name)
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [word for code in INLINE.findall(text) for word in code.split()]
    named += [word for code in blocks(page, "sh", "") for word in code.split()]
    specs = [word for word in named if re.fullmatch(r"datasets/[\w-]+\.(toml|json)", word)]
    files = [word for word in named if re.fullmatch(rf"({'|'.join(FOLDERS)})/[\w./-]*", word)]
    assert [word for word in (*specs, *files) if not any((at / word).exists() for at in (ROOT, page.parent))] == []


@pytest.mark.parametrize("page", ALL, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)[)#]", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", ALL, ids=name)
def test_what_make_is_asked_for_it_knows(page: Path) -> None:
    text = "\n".join([*blocks(page, "sh", ""), *INLINE.findall(page.read_text(encoding="utf-8"))])
    known = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"^make (\w+)", text, re.MULTILINE)) <= set(known)


@pytest.mark.parametrize("page", ALL, ids=name)
def test_nothing_is_installed_from_an_index_where_the_name_may_be_a_strangers(page: Path) -> None:
    assert not re.search(r"pip install [^\n`]*\brulescope\b", page.read_text(encoding="utf-8"))


def test_the_readmes_numbers_are_those_of_the_demos_results() -> None:
    table = [
        line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| all ")
    ]
    results = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8").partition("<!-- results:end -->")[0]
    assert len(table) >= 3
    for line in table:
        assert line.split("|")[3].strip() in results
