"""Storage of rows that become a data set: in memory if they are few, else in a temporary file."""

import atexit
import ctypes
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
from datasets.table import InMemoryTable

from valuefree.errors import ConfigError

DONT_NEED = 4  # MADV_DONTNEED of Linux
SPILL_BYTES = 128 * 2**20  # more bytes than this go to a file


def cache_root() -> Path:
    """``$VALUEFREE_CACHE``, or ``valuefree`` in the user's cache folder, for files that can be recreated."""
    if "VALUEFREE_CACHE" in os.environ:
        return Path(os.environ["VALUEFREE_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "valuefree"


class RowStore:
    """Record batches of one schema that become a `datasets.Dataset`.

    Up to `SPILL_BYTES` they stay in memory. Larger ones are written to an Arrow file in a new folder under ``rows`` in
    `cache_root`, which the data set maps into memory. The folder, with the files that `datasets` caches there, is
    removed when the process that created it ends; forked workers remove nothing. Folders of killed processes on this
    machine are removed by the next process that needs such a folder.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._bytes = 0
        self._batches: list[pa.RecordBatch] = []
        self._file: Path | None = None
        self._writer: pa.RecordBatchStreamWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; every batch has the schema of the first.

        Raises:
            ConfigError: the temporary file cannot be written.
        """
        self.rows += len(batch)
        self._bytes += batch.nbytes
        try:
            if self._writer is None and self._bytes <= SPILL_BYTES:
                self._batches.append(batch)
                return
            if self._writer is None:
                self._file = temporary_folder() / "rows.arrow"
                self._writer = pa.ipc.new_stream(str(self._file), batch.schema)
                for earlier in self._batches:
                    self._writer.write_batch(earlier)
                self._batches.clear()
            self._writer.write_batch(batch)
        except OSError as error:
            raise ConfigError(
                f"the rows need a temporary file under {cache_root()}, which cannot be written ({error}). "
                "Make room, or set VALUEFREE_CACHE to another folder."
            ) from error

    def changed(self, change: Callable[[pa.RecordBatch], pa.RecordBatch]) -> "RowStore":
        """A store of the same rows with each batch changed; this store cannot be used afterwards."""
        other = RowStore()
        for batch in self._batches:
            other.write(change(batch))
        if self._writer is not None and self._file is not None:
            self._writer.close()
            with pa.OSFile(str(self._file)) as file:
                for batch in pa.ipc.open_stream(file):
                    other.write(change(batch))
            _remove(self._file.parent, os.getpid())
        return other

    def dataset(self) -> datasets.Dataset:
        """All rows in the order written; needs at least one batch, and ends writing."""
        if self._writer is None:
            return datasets.Dataset(InMemoryTable(pa.Table.from_batches(self._batches)))
        self._writer.close()
        return datasets.Dataset.from_file(str(self._file))


def release_pages(dataset: datasets.Dataset) -> None:
    """Release the pages in memory of the files that a data set maps.

    They would count as memory of this process; later accesses read them from the file again. On systems other than
    Linux, which do not list mapped files, this does nothing.
    """
    files = {str(Path(file["filename"]).resolve()) for file in dataset.cache_files}
    maps = Path("/proc/self/maps")
    if not files or not maps.exists():
        return
    libc = ctypes.CDLL(None)
    for line in maps.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        addresses, rights, _, _, _, path = (*line.split(maxsplit=5), "")[:6]
        if path in files and rights.startswith("r--"):  # a read-only mapping, so nothing can be lost
            start, end = (int(address, 16) for address in addresses.split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), DONT_NEED)


def temporary_folder() -> Path:
    """A new folder under ``rows`` in `cache_root`, removed with its content when this process ends."""
    parent = cache_root() / "rows"
    parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{socket.gethostname()}-{os.getpid()}-", dir=parent))
    atexit.register(_remove, folder, os.getpid())
    return folder


def _remove(folder: Path, owner: int) -> None:
    """Remove the folder, unless this process is a fork of the owner."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_orphans(parent: Path) -> None:
    """Remove folders of processes on this machine that ended without removing theirs."""
    for folder in parent.glob(f"{socket.gethostname()}-*-*"):
        owner = folder.name.removeprefix(f"{socket.gethostname()}-").split("-")[0]
        if owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process belongs to another user
        return True
    return True
