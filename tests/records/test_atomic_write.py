"""What may be written to, asked before the work."""

import os

import pytest

from dasrlib.records.atomic_write import check_writable


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
        ("pipe", r"pipe is no ordinary file"),
        ("no/new.png", r"no folder at .*no: create it before new\.png"),
        ("photo.png/new.png", r"no folder at .*photo\.png: create it"),
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
