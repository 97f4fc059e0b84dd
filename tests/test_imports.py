"""The modules of r1 build on one another in one direction only."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "book" / "r1"
# Each may import those before it. A new module gets its place here.
ORDER = [
    *(
        "formats",
        "config",
        "accounting",
        "bill",
        "schedule",
        "layers",
        "cache",
        "attention",
        "moe",
        "block",
    ),
    *("mtp", "model", "parallel", "wires", "tokenizer", "answers", "tasks", "corpus"),
    *("rewards", "verifiers", "confine", "programs"),
    *("generate", "drafting", "checkpoint", "distributed", "records", "evaluate"),
    *(
        "pretrain",
        "grpo",
        "ppo",
        "rollout",
        "rl",
        "hacking",
        "rl_command",
        "train",
        "plotting",
        "timing",
    ),
]
WITHOUT_TORCH = ["formats", "config", "accounting", "bill", "schedule", "tokenizer"]
WITHOUT_TORCH += ["tasks"]
WITHOUT_TORCH += ["answers", "corpus", "rewards", "verifiers", "confine", "programs"]
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
LINES = 220


def parse(module):
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))


def imported(module):
    """Names of what a module imports, anywhere in it: {"torch", "r1.config"}."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: import from r1 by its full name"
            yield node.module
            if node.module == "r1":
                yield from (f"r1.{alias.name}" for alias in node.names)


def code_lines(module):
    """The lines of a module without blank ones, comments and docstrings."""
    text = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    held = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.string.strip() and token.type != tokenize.COMMENT
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            held -= set(range(node.lineno, node.end_lineno + 1))
    return len(held)


def test_every_module_has_a_place_in_the_order():
    missing = [module for module in MODULES if module not in ORDER]
    assert not missing, f"give {missing} a place in ORDER in {Path(__file__).name}"


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_downward(module):
    used = {name.split(".")[1] for name in imported(module) if name.startswith("r1.")}
    above = set(ORDER[: ORDER.index(module)]) if module in ORDER else set()
    assert used <= above, f"{module} imports {sorted(used - above)}"


@pytest.mark.parametrize("module", [m for m in WITHOUT_TORCH if m in MODULES])
def test_what_needs_no_tensor_needs_no_torch(module):
    assert not [name for name in imported(module) if name.split(".")[0] == "torch"]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_short_enough_to_read_at_a_sitting(module):
    assert code_lines(module) <= LINES


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_has_a_docstring(module):
    tree = parse(module)
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    public = [n for n in tree.body if isinstance(n, kinds) and n.name[0] != "_"]
    silent = [node.name for node in public if not ast.get_docstring(node)]
    assert ast.get_docstring(tree), "the module says nothing about itself"
    assert not silent
