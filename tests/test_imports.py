"""The modules of r1 build on one another in one direction only."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

BOOK = Path(__file__).parent.parent / "book"
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
        "fp8",
        "block",
    ),
    *("mtp", "model", "parallel", "wires", "tokenizer", "answers", "tasks", "corpus"),
    *("rewards", "readable", "verifiers", "confine", "programs"),
    *("generate", "drafting", "checkpoint", "distributed", "records", "evaluate"),
    *(
        "pretrain",
        "grpo",
        "variants",
        "ppo",
        "rollout",
        "rl",
        "sft",
        "curate",
        "survey",
        "preference",
        "pipeline",
        "hacking",
        "after",
        "distill",
        "spend",
        "rl_command",
        "distill_command",
        "spend_command",
        "stages",
        "train",
        "plotting",
        "timing",
    ),
]
WITHOUT_TORCH = ["formats", "config", "accounting", "bill", "schedule", "tokenizer"]
WITHOUT_TORCH += ["tasks"]
WITHOUT_TORCH += ["answers", "corpus", "rewards", "verifiers", "confine", "programs"]
WITHOUT_TORCH += ["readable"]
ORDERS = {"r1": ORDER}
MODULES = sorted(
    (package, path.stem)
    for package in ORDERS
    for path in (BOOK / package).glob("*.py")
    if path.stem != "__init__"
)
LINES = 220

each_module = pytest.mark.parametrize(("package", "module"), MODULES)


def text_of(package, module):
    return (BOOK / package / f"{module}.py").read_text(encoding="utf-8")


def imported(package, module):
    """Names of what a module imports, anywhere in it: {"torch", "r1.config"}."""
    for node in ast.walk(ast.parse(text_of(package, module))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: import from {package} by its full name"
            yield node.module
            if node.module == package:
                yield from (f"{package}.{alias.name}" for alias in node.names)


def code_lines(package, module):
    """The lines of a module without blank ones, comments and docstrings."""
    text = text_of(package, module)
    held = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.string.strip() and token.type != tokenize.COMMENT
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            held -= set(range(node.lineno, node.end_lineno + 1))
    return len(held)


def test_every_module_has_a_place_in_the_order():
    missing = [f"{p}.{m}" for p, m in MODULES if m not in ORDERS[p]]
    assert not missing, f"give {missing} a place in {Path(__file__).name}"


@each_module
def test_modules_import_only_downward(package, module):
    order, names = ORDERS[package], set(imported(package, module))
    used = {name.split(".")[1] for name in names if name.startswith(f"{package}.")}
    above = set(order[: order.index(module)]) if module in order else set()
    assert used <= above, f"{module} imports {sorted(used - above)}"
    assert not [name for name in names if name[:9] == "coursekit"]


@pytest.mark.parametrize("module", [m for m in WITHOUT_TORCH if ("r1", m) in MODULES])
def test_what_needs_no_tensor_needs_no_torch(module):
    used = imported("r1", module)
    assert not [name for name in used if name.split(".")[0] == "torch"]


@each_module
def test_a_module_is_short_enough_to_read_at_a_sitting(package, module):
    assert code_lines(package, module) <= LINES


@each_module
def test_everything_public_has_a_docstring(package, module):
    tree = ast.parse(text_of(package, module))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    public = [n for n in tree.body if isinstance(n, kinds) and n.name[0] != "_"]
    silent = [node.name for node in public if not ast.get_docstring(node)]
    assert ast.get_docstring(tree), "the module says nothing about itself"
    assert not silent
