"""Examples to paste from the help, `~` in paths, and folders that a typo must not create."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from limrank_ir.cli.app import app, shell
from limrank_ir.cli.shell import Command, customize
from limrank_ir.errors import InputError
from limrank_ir.formats.output import check_folder, check_places

ROOT = typer.main.get_command(app)
SIGNS = {"<", "&", ">", "|"}  # the shell interprets these and what follows


def commands(group=ROOT, path=()):
    """The words of every command, without groups."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


ALL = [" ".join(path) for path in commands()]


def help_text(command, width=80):
    if command == "rank-llm":  # --help shows RankLLM's own help if it is installed
        return f"For example:\n\n{ROOT.get_command(None, command).examples}"
    result = CliRunner().invoke(
        app, [*command.split(), "--help"], env={"COLUMNS": str(width), "TERMINAL_WIDTH": str(width)}
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def pasted(text):
    """The commands below "For example:", split as a shell would."""
    examples = text.partition("For example:")[2].replace("\\\n", " ")
    return [shlex.split(line) for line in examples.splitlines() if line.strip()]


def parse(words):
    """Parse a command with the real parser."""
    group, rest = ROOT, [*words]
    while hasattr(group, "list_commands"):
        name = rest.pop(0)
        group = group.get_command(None, name)
        assert group is not None, words
    group.make_context(name, rest)


def test_the_commands_are_all_found():
    assert {"rerank", "rank-llm", "bench suite", "bench speed", "synth run", "train", "export"} <= set(ALL)


@pytest.mark.parametrize("command", ALL)
def test_the_examples_of_the_help_can_be_pasted(command):
    """As shown on a terminal of 80 columns, not as in the docstring: each option exists and accepts its value."""
    lines = pasted(help_text(command))
    own = [words for words in lines if words[: 1 + len(command.split())] == ["limrank", *command.split()]]
    assert own, f"no example of limrank {command}"
    for words in lines:
        plain = words[: next((n for n, word in enumerate(words) if word in SIGNS), len(words))]
        if plain[0] != "limrank":
            continue
        if plain[1] == "rank-llm":
            rank_llm_main = pytest.importorskip("rank_llm.cli.main")
            rank_llm_main.build_parser().parse_args(plain[2:])
        else:
            parse(plain[1:])


@pytest.mark.parametrize("command", ALL)
def test_the_help_fits_80_columns_and_cuts_nothing(command):
    text = help_text(command).partition("For example:")[0]  # the terminal wraps long lines of examples
    assert "\u2026" not in text
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines()), text


def test_a_wrong_example_would_be_noticed():
    for wrong in (
        ["rerank", "--runs", "x"],
        ["synth", "mix", "-o"],
        ["bench", "suite", "a", "-o", "b", "--queries", "x"],
    ):
        with pytest.raises(Exception, match=r"(?i)no such option|requires an argument|valid integer"):
            parse(wrong)


def test_examples_are_shown_as_written_after_the_prose():
    made = Command("x", help="First.\n\nFor example:\n\n    x --a \\\n        -b\n\n    x <y\n\nMore.", callback=None)
    assert made.help == "First.\n\nMore."
    assert made.examples == "    x --a \\\n        -b\n\n    x <y"
    assert Command("x", help="Only prose.").examples == ""


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_a_tilde_is_the_home_folder_in_every_path(home):
    seen = {}
    cli = typer.Typer()

    @cli.command()
    def _show(paths: list[Path], one: Path = Path("~/one"), text: str = "~"):
        seen.update(paths=paths, one=one, text=text)

    arguments = ["~/a", "b/~", "--one=~/c", "--text", "~/d"]
    assert CliRunner().invoke(customize(cli), arguments).exit_code == 0
    assert seen == {"paths": [home / "home/a", Path("b/~")], "one": home / "home/c", "text": "~/d"}


def test_a_command_opens_files_given_with_a_tilde(home):
    (home / "home/qrels.txt").write_text("q1 0 d1 1\n")
    (home / "home/run.txt").write_text("q1 Q0 d1 1 1 x\n")
    result = CliRunner().invoke(app, ["eval", "--qrels=~/qrels.txt", "~/run.txt", "--measures", "RR"])
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "run.txt\t1.0000"), result.output


ALLOWED = ["x.run", "new/x.run", "new/and/deep/x.run", "~/new/deep/x.run", "../other/x.run", "{top}/other/x.run"]
REFUSED = ["/reslts/x.run", "/reslts/deep/x.run", "{top}/other/deep/x.run", "../../{name}-x/deep/x.run"]


def place(written, home):
    return Path(written.format(top=home, name=home.name)).expanduser()


@pytest.mark.parametrize("written", ALLOWED)
def test_plausible_folders_are_allowed(home, written):
    check_places({"-o": place(written, home)}, {})
    check_folder("-o", place(written, home).parent)
    assert sorted(path.name for path in home.rglob("*")) == [
        "home",
        "work",
    ]  # the check creates none


@pytest.mark.parametrize("written", REFUSED)
def test_folders_that_look_like_a_typo_are_refused(home, written):
    path = place(written, home)
    with pytest.raises(
        InputError, match=rf"^-o {re.escape(str(path))}: there is no folder /.*; check the path, or make"
    ):
        check_places({"-o": path}, {})
    assert not path.parent.exists()


def test_the_current_folder_being_the_root_allows_nothing_more(home, monkeypatch):
    monkeypatch.chdir("/")
    with pytest.raises(InputError, match="there is no folder /reslts;"):
        check_places({"-o": Path("reslts/x.run")}, {})


@pytest.mark.parametrize(
    "command",
    [
        "rerank --run run.txt --topics topics.tsv --corpus corpus.tsv -o /reslts/x.run",
        "rerank --run run.txt --topics topics.tsv --corpus corpus.tsv -o x.run --explain /reslts/why.jsonl",
        "rerank --run run.txt --topics topics.tsv --corpus corpus.tsv -o x.run --store /reslts/v.db",
        "retrieve --topics topics.tsv --corpus corpus.tsv -o /reslts/x.run",
        "retrieve --topics topics.tsv --corpus corpus.tsv -o x.run --index /reslts/index",
        "requests --run run.txt --topics topics.tsv --corpus corpus.tsv -o /reslts/x.jsonl",
        "demo --out /reslts",
        "bench suite collection -o /reslts",
    ],
)
def test_every_command_checks_its_folders_before_the_work(home, command):
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert re.search(r": there is no folder (/reslts.*); check the path, or make it first: mkdir -p \1$", line), line
    assert not Path("/reslts").exists()


def test_a_file_where_a_folder_is_wanted(home):
    Path("file").touch()
    place = re.escape(str(Path("file").resolve()))
    with pytest.raises(InputError, match=rf"^-o file: {place} is a file, not a folder; choose another place$"):
        check_folder("-o file", Path("file"))


def failing(module):
    """The result of a command whose import fails."""
    group = typer.Typer(cls=shell.Commands)

    @group.command("eval")
    def _eval():
        raise ModuleNotFoundError(f"No module named '{module}.part'", name=f"{module}.part")

    @group.command("other")
    def _other():
        pass

    return CliRunner().invoke(group, ["eval"])


def test_a_missing_package_that_no_check_found_is_one_line_with_the_extra():
    result = failing("somepackage")
    assert result.exit_code == 2
    assert result.stderr == "limrank: eval needs somepackage; run: pip install 'limrank-ir[pyterrier]'\n"


def test_a_missing_module_of_ours_is_a_bug_and_looks_like_one():
    assert isinstance(failing("limrank_ir").exception, ModuleNotFoundError)


@pytest.mark.parametrize("given", [["--corpus", ""], ["--corpus="]])
def test_a_path_from_an_unset_variable_is_not_the_current_folder(home, given):
    Path("corpus.jsonl").write_text('{"docno": "d1", "text": "word"}\n')
    Path("topics.tsv").write_text("q1\tword\n")
    result = CliRunner().invoke(app, ["retrieve", "--topics", "topics.tsv", "-o", "x.run", *given])
    assert result.exit_code == 2
    assert result.stderr == "limrank: --corpus: the value is empty; fill it in, or leave the option out\n"
