"""Files that grow by what is added: on a disk at once, in an object store as a whole at `flush`."""

from typing import NamedTuple

from etils import epath


class File(NamedTuple):
  """A file to add to; held: all of it where it lies in an object store, which cannot append."""

  path: epath.Path
  held: bytearray


def open(path):
  """The file at a path, which need not be there yet."""
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  return File(path, bytearray(path.read_bytes() if is_remote(path) and path.exists() else b''))


def add(file, data):
  """Adds bytes at the end."""
  if is_remote(file.path):
    file.held.extend(data)
  else:
    with file.path.open('ab') as end:
      end.write(data)


def flush(file):
  """Makes sure that all that was added is in the file."""
  if is_remote(file.path):
    file.path.write_bytes(bytes(file.held))


def is_remote(path):
  """Whether a path is one of an object store, such as gs://bucket/run."""
  return '://' in str(path)
