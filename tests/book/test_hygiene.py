"""What every chapter and every file of the book keeps to."""

import ast
import importlib
import itertools
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import execute
import nbformat
import pytest
import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
NOTEBOOKS = sorted(BOOK.glob("*.ipynb"))
TWINS = sorted(BOOK.glob("text/*.md"))
PAGES = [*TWINS, *sorted(BOOK.glob("*.md"))]

BUILD = "python -m pip install -r requirements.txt && jupyter-book build ."
TEST = "python -m pip install -r requirements.txt && pytest"
FORBIDDEN_TAGS = {
    "nbval-skip",
    "nbval-raises-exception",
    "raises-exception",
    "skip-execution",
}
NBVAL_COMMENT = re.compile(r"^\s*#+\s*(NBVAL|PYTEST_VALIDATE)_", re.MULTILINE)
ASSERTS = re.compile(r"^\s*(assert\b|.*\bassert_\w+\()", re.MULTILINE)
HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
REMOTE = re.compile(
    r"!\[[^\]]*\]\(\s*<?(https?:)?//"
    r"|\{(image|figure)\}\s+(https?:)?//"
    r"|<(img|script|iframe|source|video)\b[^>]*\bsrc\s*=\s*[\"']?(https?:)?//",
    re.IGNORECASE,
)
TWO_SENTENCES = re.compile(r"(?<!\b[Ff]ig)(?<!\b[Ss]ec)[a-z]{3}[.?!][\")]* [A-Z][a-z ]")
MEGABYTES = 4  # the base model of chapter 07
HOME = re.compile(r"(?<![\w.:/-])/(home(?!/jovyan)|root|Users|work)/\w|[A-Z]:\\+Users")


def each(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


def read(path):
    return nbformat.read(path, as_version=4)


def numbered(path):
    return list(enumerate(execute.code_cells(read(path)), 1))


def tags(cell):
    return set(cell.metadata.get("tags", []))


def images(cell):
    return {
        kind
        for output in cell.outputs
        for kind in output.get("data", {})
        if kind.startswith("image/")
    }


def repository_files():
    """Every file that git tracks or would track, as paths from the root."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(git, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the book is not in a git repository here")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [p for p in paths if p.is_file() and "vendor" not in p.parts]


def test_lines_end_alike_in_every_clone(tmp_path):
    """Also where git turns line ends into those of Windows."""
    git = ["git", "-C", str(tmp_path), "-c", "core.autocrlf=true"]
    (tmp_path / ".gitattributes").write_bytes((ROOT / ".gitattributes").read_bytes())
    content = {"a.md": b"# A\n\nB.\n", "b.safetensors": b"\0\n\xff\n"}
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True, capture_output=True)
    for name in content:
        (tmp_path / name).unlink()
    subprocess.run(
        [*git, "checkout-index", "-a", "-f"], check=True, capture_output=True
    )
    assert {name: (tmp_path / name).read_bytes() for name in content} == content


@each(NOTEBOOKS)
def test_no_code_cell_exceeds_40_lines_or_80_columns(path):
    for number, cell in numbered(path):
        lines = cell.source.splitlines()
        assert len(lines) <= 40, f"code cell {number} has {len(lines)} lines"
        wide = [line for line in lines if len(line) > 80]
        assert not wide, f"code cell {number}: {wide}"


@each(NOTEBOOKS)
def test_cells_were_run_from_top_to_bottom(path):
    """nbval compares no output of a cell that has no count."""
    counts = [cell.execution_count for _, cell in numbered(path)]
    assert counts == list(range(1, len(counts) + 1))


@each(NOTEBOOKS)
def test_outputs_hold_no_path_address_warning_or_error(path):
    found = {n: execute.flaws(cell.outputs) for n, cell in numbered(path)}
    assert not {number: what for number, what in found.items() if what}


@each(NOTEBOOKS)
def test_no_cell_is_skipped_or_may_fail(path):
    for number, cell in numbered(path):
        assert not tags(cell) & FORBIDDEN_TAGS, f"code cell {number}"
        assert not NBVAL_COMMENT.search(cell.source), f"code cell {number}"


@each(NOTEBOOKS)
def test_an_output_that_is_not_compared_is_held_by_an_assert(path):
    """In the cell itself or in one after it, before the next heading."""
    waiting = None
    for cell in [*read(path).cells, nbformat.v4.new_markdown_cell("# end")]:
        if cell.cell_type == "code":
            if execute.IGNORED in tags(cell):
                waiting = cell.source
            if ASSERTS.search(cell.source):
                waiting = None
        elif HEADING.search(cell.source):
            assert waiting is None, f"no assert follows this cell:\n{waiting}"


@each(NOTEBOOKS)
def test_figures_are_svg_and_have_alt_text(path):
    for number, cell in numbered(path):
        kinds = images(cell)
        assert kinds <= {"image/svg+xml"}, f"code cell {number} draws {kinds}"
        if kinds:
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) >= 20, f"code cell {number}: mystnb.image.alt is {alt!r}"


@each(NOTEBOOKS)
def test_prose_stands_between_any_two_code_cells(path):
    before = None
    for cell in read(path).cells:
        if tags(cell) & {"remove-cell", "hide-cell"}:
            continue
        both = before is not None and cell.cell_type == before.cell_type == "code"
        assert not both, f"no sentence before the cell:\n{cell.source}"
        before = cell


@each(PAGES)
def test_headings_do_not_jump(path):
    text = path.read_text(encoding="utf-8").replace("+++", "")
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    levels = [
        int(token.tag[1])
        for token in MarkdownIt().parse(text)
        if token.type == "heading_open"
    ]
    assert levels, "no heading"
    assert levels[0] == 1
    assert levels.count(1) == 1
    for above, below in itertools.pairwise(levels):
        assert below <= above + 1, levels


@each([*PAGES, *NOTEBOOKS])
def test_nothing_is_shown_from_another_site(path):
    text = path.read_text(encoding="utf-8").replace('\\"', '"')
    found = REMOTE.search(text)
    assert not found, found


@each(TWINS)
def test_one_sentence_a_line(path):
    fence, found = None, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if fence:
            fence = None if line.strip() == fence else fence
        elif re.match(r"(`{3,}|~{3,})(\{code-cell\}|\{math\}|\w)", line):
            fence = re.match(r"[`~]+", line)[0]
        elif not line.startswith(("|", "+++", ":")) and TWO_SENTENCES.search(line):
            found.append(f"line {number}: {line}")
    assert not found, "\n".join(found)


def test_twins_and_notebooks_agree(capsys):
    """If not: python book/execute.py, and commit both."""
    failed = execute.main(["--check"])
    assert not failed, capsys.readouterr().out + capsys.readouterr().err


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_is_content(command):
    """If not: ruff check --fix; ruff format (execute.py formats the chapters)."""
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr


def test_no_file_is_larger_than_the_base_model():
    sizes = {p: p.stat().st_size for p in repository_files()}
    assert not {p: size for p, size in sizes.items() if size > MEGABYTES * 2**20}


def test_no_file_names_a_folder_of_somebodys_machine():
    found = []
    for path in repository_files():
        if path.suffix in {".safetensors", ".zip", ".png", ".woff", ".woff2", ".ico"}:
            continue
        text = path.read_text(encoding="utf-8")
        found += [f"{path}: {match[0]}" for match in HOME.finditer(text)]
    assert not found


def test_requirements_pin_every_direct_dependency():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    *pins, last = [line for line in lines if line and not line.startswith("#")]
    assert last == "-e ."
    loose = [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)]
    assert not loose
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {re.split(r"[<>=~]", d)[0] for d in project["project"]["dependencies"]}
    assert needed <= {pin.split("==")[0] for pin in pins}


def test_readme_gives_the_two_commands_and_ci_runs_the_second():
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert BUILD in readme
    assert TEST in readme
    assert TEST in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_readme_lists_every_chapter():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    paths = [f"book/notebooks/{path.name}" for path in NOTEBOOKS]
    assert not [path for path in paths if path not in readme]


def test_github_runs_what_ci_runs():
    workflow = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    steps = yaml.safe_load(workflow)["jobs"]["test"]["steps"]
    assert "bash .ci/run" in [step.get("run") for step in steps]


MODULE = re.compile(r"(?:`|-m )((?:r1|experiments)(?:\.\w+)+)")
FILE = re.compile(r"`(?:book/)?((?:r1|experiments|coursekit)/[\w/]+\.py)`")
SPEAKING = [*PAGES, ROOT / "README.md", *sorted(BOOK.glob("assignments/*/*.md"))]
SPEAKING += [ROOT / ".github/CONTRIBUTING.md", *sorted(BOOK.glob("r1/**/*.py"))]


@pytest.mark.parametrize("path", SPEAKING, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_text_names_of_the_package_is_there(path):
    text = path.read_text(encoding="utf-8")
    for name in MODULE.findall(text):
        pkgutil.resolve_name(name)
    missing = [file for file in FILE.findall(text) if not (BOOK / file).is_file()]
    assert not missing


BENCH = sorted((ROOT / "tests/bench").glob("*.py"))
MAKERS = sorted(BOOK.glob("assignments/*/*.py"))


@pytest.mark.parametrize("path", [*BENCH, *MAKERS], ids=lambda p: p.name)
def test_what_programs_outside_of_the_tests_import_is_there(path):
    """Nothing else runs these: they need other libraries, or many minutes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "r1":
            module = importlib.import_module(node.module)
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                assert hasattr(module, alias.name) or importlib.import_module(full)


NEEDS = {"experiments": "tyro", "scipy": "scipy", "transformers": "transformers"}
NEEDS |= {"r1.stats": "scipy"}


@each(TWINS)
def test_colab_installs_what_a_chapter_imports_or_starts(path):
    text = path.read_text(encoding="utf-8")
    line = " ".join(re.findall(r"%pip install -q (.+)", text))
    assert line, "no cell for Colab"
    code = re.findall(r"^```\{code-cell\}.*?^```", text, re.MULTILINE | re.DOTALL)
    for name, package in NEEDS.items():
        word = re.escape(name)
        uses = rf'^\s*(?:from|import) {word}\b|-m {word}\.|"{word}\.\w+"'
        if any(re.search(uses, cell, re.MULTILINE) for cell in code):
            assert package in line, f"{path.stem} uses {name}"
