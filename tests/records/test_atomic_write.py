"""Files written whole or not at all, and what is refused before the work."""

import os
import stat

import pytest

from dasrlib.records.atomic_write import atomic_write, check_writable


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"photo")
    return tmp_path / "photo.png"


def test_a_new_file_may_be_written_and_asking_leaves_nothing(tmp_path, photo, monkeypatch):
    assert check_writable(tmp_path / "new.png", inputs=[photo, "laptop/no-file"]).name == "new.png"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert check_writable("~/new.png") == tmp_path / "new.png"
    assert list(tmp_path.iterdir()) == [photo]


def test_an_existing_file_only_when_asked(tmp_path, photo):
    with pytest.raises(FileExistsError, match=r"photo\.png exists already.*--overwrite"):
        check_writable(photo)
    assert check_writable(photo, overwrite=True) == photo
    (tmp_path / "astray.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(FileExistsError, match=r"astray\.png exists already"):
        check_writable(tmp_path / "astray.png")


@pytest.mark.parametrize("way", ["itself", "another path", "symlink", "link", "linked folder"])
def test_an_input_never(tmp_path, photo, way):
    (tmp_path / "folder").mkdir()
    (tmp_path / "symlink.png").symlink_to(photo)
    (tmp_path / "link.png").hardlink_to(photo)
    (tmp_path / "linked").symlink_to(tmp_path)
    path = {
        "itself": photo,
        "another path": tmp_path / "folder" / ".." / "photo.png",
        "symlink": tmp_path / "symlink.png",
        "link": tmp_path / "link.png",
        "linked folder": tmp_path / "linked" / "photo.png",
    }[way]
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"png is an input, .* never written to: name another"):
            check_writable(path, overwrite, [tmp_path / "gone.png", photo])


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder", r"folder is a folder: name a file in it"),
        ("pipe", r"pipe is not an ordinary file"),
        ("no/new.png", r"there is no folder .*no: create it"),
        ("photo.png/new.png", r"there is no folder .*photo\.png: create it"),
        (300 * "a" + ".png", r"cannot write .*aaa\.png \(.*\): name another file"),
        ("/proc/new.png", r"cannot write /proc/new\.png \("),
    ],
    ids=["folder", "pipe", "missing", "in a file", "long", "unwritable"],
)
def test_what_cannot_be_written(tmp_path, photo, name, sentence, overwrite):
    if name.startswith("/proc") and not os.path.isdir("/proc"):
        pytest.skip("no /proc here, in which not even root can make a file")
    if name == "pipe" and not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with a name here")
    (tmp_path / "folder").mkdir()
    if name == "pipe":
        os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match=sentence) as error:
        check_writable(tmp_path / name, overwrite)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_written_file_leaves_the_old_one_on_error(tmp_path, error):
    path = tmp_path / "notes.txt"
    path.write_text("old")

    def write() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_replaces_all_at_once(tmp_path):
    path = tmp_path / "deep" / "notes.txt"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent  # the same disk, so that the rename is one step
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_a_written_file_has_the_rights_of_any_new_file(tmp_path):
    with atomic_write(tmp_path / "whole") as temporary:
        temporary.write_text("new")
    (tmp_path / "plain").write_text("new")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("whole", "plain")}
    assert len(modes) == 1
