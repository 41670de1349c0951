import errno
import gzip
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank_ir.errors import EngineError, InputError, LimRankError
from limrank_ir.formats.files import find, json_object, json_text, lines, need_json_text, replacing, rows, sniff

# Line ends for str.splitlines(), but not in a text file.
SEPARATORS = "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\rj"


def message(function, *args) -> str:
    with pytest.raises(LimRankError) as caught:
        result = function(*args)
        list(result)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# replacing


def test_replacing_creates_the_folder_and_writes_utf8_with_unix_line_ends(tmp_path):
    path = tmp_path / "new" / "folder" / "out.txt"
    with replacing(path) as file:
        file.write("é\nü\n")
    assert path.read_bytes() == b"\xc3\xa9\n\xc3\xbc\n"
    assert names(path.parent) == ["out.txt"]


def test_replacing_compresses_files_named_gz(tmp_path):
    with replacing(str(tmp_path / "out.txt.gz")) as file:
        file.write("é\n")
    assert gzip.decompress((tmp_path / "out.txt.gz").read_bytes()) == b"\xc3\xa9\n"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_replacing_leaves_nothing_behind_on_an_error_and_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as file:
        file.write("half of the new")
        file.flush()
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["out.txt"]


def test_replacing_shows_the_file_only_when_it_is_complete(tmp_path):
    path = tmp_path / "out.txt"
    with replacing(path) as file:
        file.write("new")
        file.flush()
        assert not path.exists()
    assert path.read_text() == "new"


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / "out.txt"
    with replacing(path) as first:
        first.write("first")
        with replacing(path) as second:
            second.write("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["out.txt"]


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_has_the_permissions_that_the_umask_allows(tmp_path, umask, expected):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "out.txt") as file:
            file.write("x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "out.txt") == expected


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    path.chmod(0o640)
    with replacing(path) as file:
        file.write("new")
    assert (path.read_text(), mode(path)) == ("new", 0o640)


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "store").mkdir()
    real, link = tmp_path / "store" / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    with replacing(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert names(tmp_path / "store") == ["real.txt"]


def test_a_pipe_is_written_in_place(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with replacing(pipe) as file:
            file.write("through\n")
        assert os.read(reader, 100) == b"through\n"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_replacing_names_the_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LimRankError, match=r"file/out\.txt: cannot write here .*; choose another place"):
        replacing(tmp_path / "file" / "out.txt").__enter__()
    with pytest.raises(LimRankError, match="is a folder; name a file in it"):
        replacing(tmp_path).__enter__()
    assert names(tmp_path) == ["file"]


# lines, rows, sniff


@pytest.mark.parametrize("name", ["in.txt", "in.txt.gz"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"one\ntwo\n", [(1, "one"), (2, "two")]),
        (b"no end", [(1, "no end")]),
        (b"one\r\n\r\nthree\r\n", [(1, "one"), (2, ""), (3, "three")]),
        (b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n", [(1, "one"), (2, "two")]),
        (SEPARATORS.encode() + b"\nx\n", [(1, SEPARATORS), (2, "x")]),
        (b"\t indented \t\n", [(1, "\t indented \t")]),
        (b"", []),
    ],
)
def test_lines(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert list(lines(tmp_path / name)) == expected
    assert list(lines(str(tmp_path / name))) == expected


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\ufeff"))), st.sampled_from(["t", "t.gz"]))
@settings(deadline=None, max_examples=60)
def test_lines_reads_back_what_replacing_wrote(texts, name):
    with tempfile.TemporaryDirectory() as folder:
        with replacing(Path(folder) / name) as file:
            file.writelines(text + "\n" for text in ["the first", *texts])
        assert [text for _, text in lines(Path(folder) / name)] == ["the first", *texts]


def test_lines_streams_up_to_bytes_that_are_not_utf8_and_reports_them(tmp_path):
    path = tmp_path / "latin1.txt"
    path.write_bytes(b"good\nbad \xe9t\xe9\n")
    stream = lines(path)
    assert next(stream) == (1, "good")
    assert message(list, stream) == f"{path}:2: not UTF-8 (byte 0xe9); convert the file to UTF-8"


def test_utf16_is_reported_on_line_1(tmp_path):
    path = tmp_path / "utf16.txt"
    path.write_bytes("text".encode("utf-16"))
    assert message(lines, path).startswith(f"{path}:1: not UTF-8 (byte 0xff)")


def test_truncated_gzip_is_an_error_after_the_complete_lines(tmp_path):
    path = tmp_path / "cut.txt.gz"
    content = b"".join(b"%032x\n" % (number**9 * 7919) for number in range(5000))
    path.write_bytes(gzip.compress(content)[:-2000])
    stream = lines(path)
    assert next(stream) == (1, "0" * 32)
    assert "truncated gzip data after line" in message(list, stream)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"plain text\n",
        lambda data: data[:20] + b"\xff\xff" + data[22:],
        lambda data: data[:-8] + b"\0\0\0\0" + data[-4:],
    ],
    ids=["not gzip", "broken data", "wrong checksum"],
)
def test_broken_gzip(tmp_path, damage):
    path = tmp_path / "broken.txt.gz"
    path.write_bytes(damage(gzip.compress(b"some text that is long enough to be damaged\n" * 20)))
    text = message(lines, path)
    assert text.startswith(f"{path}: corrupt or truncated gzip data after line ")
    assert text.endswith("; get the file again")


def test_a_missing_file_and_a_folder(tmp_path):
    assert message(lines, tmp_path / "no.txt") == f"{tmp_path}/no.txt: no such file; check the path"
    assert message(lines, tmp_path) == f"{tmp_path}: cannot be read (Is a directory); check the file"


@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, EngineError), (errno.EACCES, InputError)])
def test_a_failing_disk_is_not_the_users_fault(tmp_path, monkeypatch, number, kind):
    def fails(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("builtins.open", fails)
    with pytest.raises(kind, match=r"in\.txt: cannot be read"):
        list(lines(tmp_path / "in.txt"))
    monkeypatch.setattr(Path, "touch", fails)
    with pytest.raises(kind, match=r"out\.txt: cannot write here"):
        replacing(tmp_path / "out.txt").__enter__()


def test_rows_skips_blank_lines_but_counts_them(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes(b"\n \t\r\none\n\ntwo \n\x0b\n")
    assert list(rows(path)) == [(f"{path}:3", "one"), (f"{path}:5", "two ")]


def test_sniff_returns_the_first_character_and_all_rows(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes(b"\xef\xbb\xbf\n  {a\nb\n")
    first, stream = sniff(path)
    assert (first, list(stream)) == ("{", [(f"{path}:2", "  {a"), (f"{path}:3", "b")])


@pytest.mark.parametrize("content", [b"", b" \n\t\n", b"\xef\xbb\xbf"])
def test_sniff_refuses_an_empty_file(tmp_path, content):
    (tmp_path / "in.txt").write_bytes(content)
    assert message(sniff, tmp_path / "in.txt") == f"{tmp_path}/in.txt: the file is empty; check how it was made"


def test_find(tmp_path):
    assert find("some/file.txt", ["a"]) == Path("some/file.txt")
    (tmp_path / "b").write_text("x")
    assert find(tmp_path, ["a", "b", "c"]) == tmp_path / "b"
    (tmp_path / "a").mkdir()  # a folder of that name is not the file
    assert find(str(tmp_path), ["a", "b"]) == tmp_path / "b"
    assert message(find, tmp_path, ["c", "d/e"]) == f"{tmp_path}: the folder has no c or d/e; name the file itself"


# records


def test_json_numbers_are_kept_as_text():
    line = '{"a": 12345678901234567890123, "b": 1.50, "c": -7, "d": {"e": 1}, "f": "1e3"}'
    record = json_object("f:1", line)
    assert [record[key] for key in "abcf"] == ["12345678901234567890123", "1.50", "-7", "1e3"]
    assert json_object("f:1", '{"a": %s}' % ("9" * 5000))["a"] == "9" * 5000


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"a": 1', "f:7: malformed JSON (Expecting ',' delimiter, column 8); write one object per line"),
        ("{'a': 1}", "f:7: malformed JSON (Expecting property name"),
        ('{"a": "tab\there"}', "f:7: malformed JSON (Invalid control character"),
        ('{"a": 1} {"a": 2}', "f:7: malformed JSON (Extra data, column 10)"),
        ("[1]", "f:7: JSON, but not an object; write one object per row"),
        ("[" * 100_000, "f:7: malformed JSON (nested too deep)"),
    ],
)
def test_malformed_json(line, expected):
    assert message(json_object, "f:7", line).startswith(expected)


def test_json_text_uses_the_first_key_with_a_value():
    record = {"a": None, "b": "", "c": "text"}
    assert json_text("f:1", record, ["a", "c", "b"]) == "text"
    assert json_text("f:1", record, ["b", "c"]) == "text"  # an empty text does not hide the next
    assert json_text("f:1", record, ["a", "b", "x"]) == ""
    assert json_text("f:1", record, ["a", "x"]) is None
    assert message(need_json_text, "f:1", record, ["a", "x"]) == "f:1: no 'a' or 'x' in this record; add one"


@pytest.mark.parametrize(
    ("value", "kind"),
    [("[1]", "a list"), ('{"b": 1}', "an object"), ("true", "true or false"), ("NaN", "a non-finite number")],
)
def test_json_text_refuses_other_types(value, kind):
    record = json_object("f:3", f'{{"a": {value}}}')
    assert message(json_text, "f:3", record, ["a"]) == f"f:3: 'a' holds {kind}; make it a string"


def test_json_surrogates():
    whole = json_object("f:3", r'{"a": "\ud83d\ude00"}')
    assert json_text("f:3", whole, ["a"]) == "\U0001f600"
    half = json_object("f:3", r'{"a": "cut \ud83d"}')
    assert message(json_text, "f:3", half, ["a"]) == (
        r"f:3: 'a' holds half a character ('\ud83d'); remove it or write the whole character"
    )
