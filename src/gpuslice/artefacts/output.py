"""Files written whole or not at all: under a temporary name beside the target, then moved.

Whatever happens (a full disk, an interrupt, a crash), a reader sees the old content or the new, never half.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from gpuslice.artefacts.quoting import shorten
from gpuslice.errors import EnvironmentFailedError, InputError

# Lists the files that a directory's last writing made, one a line: these and no others may be replaced.
LISTING: Final = ".gpuslice"
# Open descriptors, whatever they point to: to be written, never replaced.
_STREAMS: Final = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")
_LISTING_HEAD: Final = "# Written by gpuslice: it replaces these files, and removes those no longer needed.\n"


def write_atomically(path: str | Path, text: str) -> None:
    """Write a text file (UTF-8) whole or not at all.

    A symbolic link stays one, and what it points to is replaced. A pipe or device (/dev/stdout) is written
    directly. An existing file keeps its permissions; a new one gets those of the umask.

    Raises:
        EnvironmentFailedError: the directory doesn't exist or may not be written, the disk is full, …
    """
    content = text.encode()
    try:
        mode = _mode(path)
        if mode is not None and (not stat.S_ISREG(mode) or str(path).startswith(_STREAMS)):
            with Path(path).open("ab") as stream:  # not "wb": standard output may be `>> file`
                stream.write(content)
            return
        if mode is not None and not os.access(path, os.W_OK):
            raise PermissionError
        target = Path(os.path.realpath(path))
        temporary = _beside(target)
        try:
            _write_new(temporary, content)
            if mode is not None:
                temporary.chmod(stat.S_IMODE(mode))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        raise _failed(error, path) from None


def write_directory(path: str | Path, files: Mapping[str, str]) -> None:
    """Make a directory hold exactly these text files, whole or not at all.

    The new directory is complete, under a temporary name, before it takes the place of the old one. The file
    `.gpuslice` in it lists what was written, so that a later writing can tell its own files from a person's:
    own ones that are not among `files` any more go, and a directory with any other file is refused.

    Args:
        path: of the directory. Its parent must exist.
        files: content by relative path, with "/" between folders.

    Raises:
        InputError: the directory holds files that were not written by this function, is a file, or is where
            the process stands.
        EnvironmentFailedError: as `write_atomically`.
    """
    for name in files:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or name == LISTING:
            raise ValueError(f"not a path inside a directory: {name!r}")
    contents = {name: text.encode() for name, text in files.items()}
    try:
        target = Path(os.path.realpath(path))
        if target.exists():
            _refuse_foreign(target, path)
        _swap_in(target, contents)
    except (OSError, ValueError) as error:
        raise _failed(error, path) from None


def _swap_in(target: Path, contents: Mapping[str, bytes]) -> None:
    temporary = _beside(target)
    old = _beside(target)
    try:
        temporary.mkdir()
        for name, content in contents.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_new(file, content)
        listing = _LISTING_HEAD + "".join(f"{name}\n" for name in sorted(contents))
        _write_new(temporary / LISTING, listing.encode())
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            # Two renames: exchanging two directories in one call is not something that every file system can.
            target.rename(old)
        try:
            temporary.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def _refuse_foreign(target: Path, path: str | Path) -> None:
    if not target.is_dir():
        raise InputError(
            "is a file, where a directory is to be written", where=str(path), fix="name another path"
        )
    if Path.cwd().is_relative_to(target):  # the shell would stand in a directory that is gone
        raise InputError(
            "is the directory that you are in", where=str(path), fix="name a new directory inside it"
        )
    files_there = {
        (Path(folder) / name).relative_to(target).as_posix()
        for folder, folders, names in os.walk(target)
        for name in (
            *names,
            *(folder_name for folder_name in folders if (Path(folder) / folder_name).is_symlink()),
        )
    }
    listing = target / LISTING
    lines = listing.read_text(errors="replace").splitlines() if listing.is_file() else []
    foreign = sorted(files_there - set(lines) - ({LISTING} if lines else set()))
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise InputError(
            f"holds files that gpuslice didn't write: {', '.join(shorten(name) for name in foreign[:3])}{more}",
            where=str(path),
            fix="name another directory, or move them away",
        )


def _mode(path: str | Path) -> int | None:
    try:
        return Path(path).stat().st_mode
    except FileNotFoundError:
        return None


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")


def _write_new(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _failed(error: OSError | ValueError, path: str | Path) -> EnvironmentFailedError:
    parent = Path(os.path.realpath(path)).parent if "\0" not in str(path) else Path()
    where = str(path)
    match error:
        case FileNotFoundError() | NotADirectoryError() if not parent.is_dir():
            fix = f"create it: mkdir -p {parent}"
            return EnvironmentFailedError(f"can't be written: no directory {parent}", where=where, fix=fix)
        case IsADirectoryError():
            return EnvironmentFailedError(
                "can't be written: it is a directory", where=where, fix="name a file in it"
            )
        case PermissionError():
            fix = "name another path, or ask for write permission on it and its directory"
            return EnvironmentFailedError("can't be written: permission denied", where=where, fix=fix)
        case OSError():
            return EnvironmentFailedError(f"can't be written: {error.strerror or error}", where=where)
        case _:
            return EnvironmentFailedError("can't be written: it is no file name", where=repr(where))
