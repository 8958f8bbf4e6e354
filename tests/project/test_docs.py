"""What the documentation says is true: examples run, commands exist, links lead somewhere, generated parts are current."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch
import yaml

import ganpatch
from ganpatch.causes import result as causes
from ganpatch.cli import cli
from ganpatch.dissection import result as dissection
from ganpatch.finding import suggestions
from ganpatch.finding.methods import METHODS
from ganpatch.generator.configuration import ModelSettings, RankSettings
from ganpatch.ranking import result as ranking
from ganpatch.review import page, verdicts
from ganpatch.runs import run_folder as run
from tests.support.nets import dcgan
from tests.support.shared import ROOT, patch_for

# Phrases of this code base's former dialect, each with its plain word. Add one once it is gone from the whole repository.
DIALECT = {
    r"as many random": "random-unit baselines",
    r"\bto be had\b": "available",
    r"\bstands? there\b": "is, is listed",
    r"\b(lies?|stands?) beside\b": "is next to, is compared with",
    r"\btold (by|apart)\b": "recognised by, distinguished",
    r"\b(more|less) usual\b": "more typical, less typical",
    r"\bgoes on\b": "continues, resumes",
    r"\banew\b": "again",
    r"\b(is|are) said\b": "is reported",
    r"\bfault of ganpatch\b": "internal error",
    r"\bnobody vouches\b": "untrusted",
    r"\bMind that\b": "note that",
    r"\bwhat became of\b": "the outcome of",
    r"\bat hand\b": "available",
    r"\bfires\b": "is active",
    r"\bas it (stands|stood)\b": "current",
    r"\bstands\b(?! (for|out)\b)": "is, is listed",
    r"\bstood\b": "was",
    r"\bamid\b": "within, during",
    r"\bwholly\b": "entirely",
    r"\bfor want of\b": "without",
    r"\blies? (in|at|under|among)\b": "is in",
    r"\btells? (it|them|units|images)? ?(apart|from)\b": "distinguishes",
    r"\b(layer|layers|module|operation|network) gives?\b": "outputs, returns",
    r"[.;] gives? (what|the|their|a)\b": "return",
    r'"""(Give|Gives|Tell|Tells|Say|Says)\b': "Return, Yield, Raise",
}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("patches/*.md"), *ROOT.glob("ganpatch/**/CARD.md")])  # fmt: skip


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def commands(page: Path) -> list[str]:
    """Every ganpatch command line of a page, in code blocks and in `ticks`."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    ticks = re.findall(r"`(ganpatch [a-z][^`]*)`", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
    return [line.partition("#")[0].strip() for line in [*lines, *ticks] if line.strip().startswith("ganpatch ")]


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.documentation.make_docs", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def runs(code: str, folder: Path) -> None:
    """Run Python as a reader would, in a folder of its own."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_example_in_the_readme_runs(tmp_path: Path) -> None:
    torch.save(dcgan()[0].state_dict(), tmp_path / "model.pt")
    generator = ganpatch.load(tmp_path / "model.pt")
    patch_for(generator, {"layer": "main.5", "channels": 8, "units": [3]}).save(tmp_path / "fix.yaml")
    (example,) = blocks(ROOT / "README.md", "python")
    assert sum(bool(line.strip()) for line in example.splitlines()) == 5
    runs(f"{example}\nassert images.shape == (16, 3, 16, 16) and 0 <= images.min() and images.max() <= 1", tmp_path)


def test_the_example_on_the_start_page_runs(tmp_path: Path) -> None:
    (example,) = blocks(ROOT / "docs" / "index.md", "python")
    runs(example.replace("range(1000)", "range(8)"), tmp_path)
    assert (tmp_path / "run" / "index.html").is_file()


def test_the_examples_for_those_with_a_hook_run(tmp_path: Path) -> None:
    code = "\n".join(blocks(ROOT / "docs" / "migrating.md", "python"))
    for shown, here in (("normal:128", "normal:96"), ("range(256)", "range(8)")):
        assert shown in code
        code = code.replace(shown, here)
    runs(f"import ganpatch\nmodel = ganpatch.load('churches').module\n{code}\nassert baked.inserted == ()", tmp_path)
    assert ganpatch.Patch.load(tmp_path / "no-bars.yaml").edits[0].units == (3, 17, 18)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist_with_the_options_named(page: Path) -> None:
    for line in commands(page):
        words = shlex.split(line.replace("\\|", "|"))[1:]
        command: click.Command = cli
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            name = words.pop(0)
            choices = name.split("|")
            assert set(choices) <= command.commands.keys(), f"{page.name}: {line}"
            command = command.commands[choices[0]]
            if len(choices) > 1:
                words = []
                break
        known = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            assert not word.startswith("--") or word in known, f"{page.name}: {line}: {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert re.match(r"https?://", target) or (page.parent / target).exists(), f"{page.name}: {target}"
    for target in re.findall(r"`((?:docs|tools|tests|patches|ganpatch)/[\w./-]+\.\w+)`", text):
        assert (ROOT / target).exists() or "*" in target, f"{page.name}: {target}"


def test_the_text_is_plain_english() -> None:
    files = [*PAGES, ROOT / "CITATION.cff"]
    files += [path for name in ("ganpatch", "tools", "docs", "tests") for kind in ("py", "js", "html") for path in (ROOT / name).rglob(f"*.{kind}")]  # fmt: skip
    found = []
    for path in set(files) - {Path(__file__)}:
        text = path.read_text()
        for phrase, plain in DIALECT.items():
            found += [f"{path.relative_to(ROOT)}: '{match[0]}': {plain}" for match in re.finditer(phrase, text)]
    assert sorted(found) == []


def test_every_file_setting_and_variable_is_explained() -> None:
    text = (ROOT / "docs" / "files.md").read_text()
    names = [ranking.MANIFEST, ranking.ARRAYS, dissection.DISSECTION, dissection.ARRAYS, causes.MANIFEST, causes.ARRAYS]
    names += [suggestions.INDEX, suggestions.ARRAYS, page.PAGE, page.layer_script(0), run.PARTIAL, verdicts.VERDICTS]
    names += [*ModelSettings.model_fields, *RankSettings.model_fields]
    for path in (ROOT / "ganpatch").rglob("*.py"):
        names += re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", path.read_text())
    assert "GANPATCH_TRACEBACK" in names
    assert [name for name in names if name not in text] == []


def is_code(paragraph: str) -> bool:
    """Whether a paragraph is Python that begins at the left margin; a word alone is prose."""
    for text in (paragraph, f"{paragraph.rstrip()}\n    pass"):
        try:
            body = [] if paragraph.startswith(" ") else ast.parse(text).body
        except SyntaxError:
            continue
        return any(not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call | ast.Attribute) for node in body)
    return False


def test_examples_in_docstrings_of_modules_are_indented() -> None:
    """The formatter strips an indentation that every line has, so an example needs a line of prose beside it."""
    assert is_code("with applied(module, patch):")
    assert is_code("rank(generator)\n")
    assert not is_code("    rank(generator)")
    assert not is_code("Example:")
    assert not is_code("What is not finished.")
    files = [path for room in ("ganpatch", "tests", "tools") for path in (ROOT / room).rglob("*.py")]
    docstrings = {path: ast.get_docstring(ast.parse(path.read_text()), clean=False) or "" for path in files}
    lost = [path for path, text in docstrings.items() if any(map(is_code, text.split("\n\n")[1:]))]
    assert [str(path.relative_to(ROOT)) for path in lost] == []


def test_every_method_has_its_formula() -> None:
    text = (ROOT / "docs" / "methods" / "scores.md").read_text().lower()
    headings = re.findall(r"^## (.*)", text, re.MULTILINE)
    called = {"fd": "fréchet distance", "first-look": "first look"}
    assert [name for name in METHODS if not any(called.get(name, name) in title for title in headings)] == []


def test_the_citation_is_complete() -> None:
    """What Citation File Format 1.2.0 asks for."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["cff-version"], cited["version"], cited["type"]) == ("1.2.0", ganpatch.__version__, "software")
    assert cited["message"]
    assert cited["authors"] == [{"name": "The ganpatch authors"}]
    for work in cited["references"]:
        assert {"type", "title", "authors", "year"} <= work.keys(), work
        assert all(author.keys() == {"family-names", "given-names"} for author in work["authors"]), work


def test_every_command_stands_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in cli.commands if f"ganpatch {name}" not in text] == []
