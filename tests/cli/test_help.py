"""Help in groups, 80 columns wide; and the message for an option that a command lacks."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from ganpatch.cli import cli
from ganpatch.cli.help import _OTHER_NAMES, GROUPS, group_of, wrong_option


def commands(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, child in command.commands.items() if isinstance(command, click.Group) else ():
        yield (*words, name), child
        yield from commands(child, *words, name)


ALL = list(commands(cli))
SINGLE = [(words, one) for words, one in ALL if not isinstance(one, click.Group)]


def shown(*words: str) -> str:
    return CliRunner().invoke(cli, [*words, "--help"], env={"COLUMNS": "200"}).output


@pytest.mark.parametrize("words", [(), *(words for words, _ in ALL)], ids=" ".join)
def test_help_is_80_columns_wide(words: tuple[str, ...]) -> None:
    assert [line for line in shown(*words).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("words", [words for words, _ in SINGLE], ids=" ".join)
def test_examples_come_before_options(words: tuple[str, ...]) -> None:
    text = shown(*words).partition("\n")[2]
    assert (
        0
        < text.index(f"  ganpatch {' '.join(words)}")
        < min(text.index(f"\n{name}:") for name in GROUPS if f"\n{name}:" in text)
    )


def test_every_option_is_in_one_group() -> None:
    evaluate = cli.commands["evaluate"]
    groups = {
        name: {p.name for p in evaluate.params if group_of(p) == name and isinstance(p, click.Option)}
        for name in GROUPS
    }
    assert groups["Output"] == {"out", "write", "as_json"}
    assert {"arch", "device", "allow_other_weights"} < groups["The model"]
    assert groups["What to do"] == {"seeds", "n", "real", "references", "targets", "features", "baselines", "lpips"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tune", "x.yaml", "--images", "3"), "No such option '--images' for 'ganpatch tune': it is --n here"),
        (("flag", "run", "--n", "3"), "No such option '--n' for 'ganpatch flag'; it is an option of 'ganpatch rank', 'ganpatch sample', 'ganpatch verify', 'ganpatch evaluate' (+8 more)"),
        (("tune", "x.yaml", "--score", "max"), "No such option '--score' for 'ganpatch tune'; it is an option of 'ganpatch rank'"),
        (("rank", "--lyaer", "x"), "No such option '--lyaer' for 'ganpatch rank'; did you mean '--layer'?"),
        (("rank", "--zzz"), "No such option '--zzz' for 'ganpatch rank'"),
        (("cause", "--seeds", "3"), "No such option '--seeds' for 'ganpatch cause': it is --n here"),
    ],
)  # fmt: skip
def test_an_option_that_is_not_there(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(click.NoSuchOption) as caught:
        cli.main(list(words), prog_name="ganpatch", standalone_mode=False)
    assert wrong_option(caught.value) == message


def test_other_names_are_of_options_that_exist() -> None:
    known = {option for _, one in SINGLE for p in one.params for option in p.opts}
    assert {name for names in _OTHER_NAMES.values() for name in names} <= known


@pytest.mark.parametrize(
    "words", [words for words, one in SINGLE if any(p.name == "seeds" for p in one.params)], ids=" ".join
)
def test_where_seeds_are_taken_n_is_too(words: tuple[str, ...]) -> None:
    names = {option for p in dict(SINGLE)[words].params for option in p.opts}
    assert {"--seeds", "--n", "-n"} <= names


def test_n_and_seeds_exclude_each_other() -> None:
    done = CliRunner().invoke(cli, ["sample", "--n", "3", "--seeds", "4", "-o", "g.png"])
    assert done.exit_code == 2
    assert "Error: give --seeds or --n, not both" in done.output


def test_every_command_that_prints_a_result_prints_json() -> None:
    without = {" ".join(words) for words, one in SINGLE if not any(p.name == "as_json" for p in one.params)}
    assert without == {"completion", "patch check", "patch merge", "patch schema", "review", "sample", "studio"}
