"""What a user names to be written keeps being what it is: a file, a symlink, a device, a pipe, a folder."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from edge.output import check_output, file_bytes, write_file, write_text
from edge.store import write_store
from edge.trace import open_trace
from models.atomic_folder import atomic_folder
from models.errors import EdgeError, MisuseError
from tui.settings import Settings, read_settings, write_settings

WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: write_text(path, "what was written"),
    "a trace": lambda path: write_store(path, {"a": 1}, {"b": np.zeros(3, np.float32)}),
}

ROOT = Path(__file__).parents[2]

each_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def device() -> Iterator[Path]:
    """A terminal of the test's own: what would be renamed over it must not be a device that others need."""
    ours, theirs = os.openpty()
    yield Path(os.ttyname(theirs))
    os.close(ours)
    os.close(theirs)


@each_writer
def test_a_file_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write(tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").stat().st_size > 0


@each_writer
def test_a_device_stays_a_device(tmp_path: Path, device: Path, write: Callable[[Path], object]) -> None:
    link = tmp_path / "device"
    link.symlink_to(device)
    for path in (device, link):
        write(path)
        assert stat.S_ISCHR(device.stat().st_mode), "the device was replaced"
        assert file_bytes(path) is None
    assert link.readlink() == device and os.listdir(tmp_path) == ["device"]


@each_writer
def test_a_pipe_gets_what_a_file_would_hold(pipe: Path, write: Callable[[Path], object]) -> None:
    write(pipe.with_name("file"))
    read: list[bytes] = []
    reader = Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write(pipe)
    reader.join()
    assert stat.S_ISFIFO(pipe.stat().st_mode), "the pipe was replaced"
    # Sorted: safetensors writes its notes in any order.
    assert sorted(read[0]) == sorted(pipe.with_name("file").read_bytes()), "the pipe got something else"


@pytest.mark.parametrize("exists", [True, False])
@each_writer
def test_a_symlink_stays_one_and_what_it_leads_to_is_written(
    tmp_path: Path, write: Callable[[Path], object], exists: bool
) -> None:
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.mkdir()
    if exists:
        (kept / "file").write_text("before")
    link.symlink_to(Path("kept") / "file")
    write(link)
    assert link.is_symlink() and (kept / "file").is_file() and not (kept / "file").is_symlink()
    assert (kept / "file").read_bytes() not in (b"", b"before")
    assert os.listdir(kept) == ["file"], "something was left beside the file"


def test_a_chain_of_symlinks_is_followed_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("c")
    write_text(tmp_path / "a", "once")
    assert (tmp_path / "a").is_symlink() and (tmp_path / "b").is_symlink() and (tmp_path / "c").read_text() == "once"


@pytest.mark.parametrize("place", ["folder", "loop", "nowhere/file", "file/file", "x" * 300])
def test_a_place_that_cannot_be_written_is_one_message_and_left_as_it_was(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("before")
    with pytest.raises(EdgeError, match=r"cannot be written: \S") as refused:
        write_text(tmp_path / place, "after")
    assert str(tmp_path / place) in str(refused.value) and "\n" not in str(refused.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "loop"] and (tmp_path / "file").read_text() == "before"


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def half(part: Path) -> None:
        part.write_text("half")
        raise OSError(28, "No space left on device")

    (tmp_path / "file").write_text("before")
    with pytest.raises(EdgeError, match="No space left"):
        write_file(tmp_path / "file", half)
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "before"


@each_writer
def test_a_new_file_may_be_read_by_whom_the_system_lets(tmp_path: Path, write: Callable[[Path], object]) -> None:
    (tmp_path / "other").touch()
    write(tmp_path / "file")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_that_is_written_over_keeps_who_may_read_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o600)
    write_text(tmp_path / "file", "secret")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_read_only_file_or_folder_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("before")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(EdgeError, match="read-only"):
        write_text(tmp_path / "file", "after")
    for name in ("file", "new"):
        with pytest.raises(MisuseError, match="permission denied"):
            check_output(tmp_path / name)
    assert (tmp_path / "file").read_text() == "before"


@pytest.mark.parametrize("place", ["new", "file", "device", "pipe", "dangling"])
def test_what_can_be_written_is_not_refused_beforehand(tmp_path: Path, pipe: Path, device: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "device").symlink_to(device)
    (tmp_path / "dangling").symlink_to("not yet")
    check_output(tmp_path / place)


@pytest.mark.parametrize(
    ("place", "said"),
    [(".", "is a folder"), ("nowhere/x", "does not exist; create it"), ("link", "is also read by this command")],
)
def test_what_cannot_be_written_is_refused_beforehand(tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "read").touch()
    (tmp_path / "link").symlink_to("read")
    with pytest.raises(MisuseError, match=said):
        check_output(tmp_path / place, None, tmp_path / "read")


def test_the_file_of_the_shell_s_redirection_is_written_into(tmp_path: Path) -> None:
    """/dev/stdout leads to it; replaced by another file, it would lose what else is printed."""
    program = (
        "from pathlib import Path; from edge.output import write_text; "
        "print('before', end=' '); write_text(Path('/dev/stdout'), 'written '); print('after')"
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, cwd=ROOT, check=True)
    assert (tmp_path / "out").read_text() == "before written after\n"


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_is_written_where_its_symlink_leads(tmp_path: Path, exists: bool) -> None:
    kept, link = tmp_path / "kept", tmp_path / "link"
    if exists:
        kept.mkdir()
    link.symlink_to("kept")
    with atomic_folder(link, "") as folder:
        (folder / "file").write_text("written")
    assert link.is_symlink() and (kept / "file").read_text() == "written" and not kept.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["kept", "link"]


def test_settings_that_are_a_symlink_stay_one_even_when_damaged(tmp_path: Path) -> None:
    kept, file = tmp_path / "dotfiles", tmp_path / "ui.json"
    kept.mkdir()
    (kept / "edge.json").write_text("damaged")
    file.symlink_to(kept / "edge.json")
    _, complaint = read_settings(file)
    assert str(kept / "edge.json.bak") in complaint and (kept / "edge.json.bak").read_text() == "damaged"
    write_settings(file, Settings(theme="light"))
    assert file.is_symlink() and read_settings(file) == (Settings(theme="light"), "")


def test_settings_that_lead_to_a_device_are_none_and_leave_it_alone(tmp_path: Path, device: Path) -> None:
    file = tmp_path / "ui.json"
    file.symlink_to(device)
    assert read_settings(file) == (Settings(), "")
    write_settings(file, Settings(theme="light"))
    assert stat.S_ISCHR(device.stat().st_mode) and os.listdir(tmp_path) == ["ui.json"]


def test_a_trace_written_through_a_symlink_opens(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("run.trace")
    write_store(tmp_path / "link", {"a": 1}, {})
    with pytest.raises(EdgeError, match="is damaged"):  # a record without a run, but read as what was written
        open_trace(tmp_path / "run.trace")
