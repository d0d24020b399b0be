"""TensorBoard's records of scalars, as bytes.

tensorboardX's own writer has a thread and a clean-up at exit, which fail with traces of their own
where a disk is full, and it knows neither epath nor a kill between two of its flushes.
"""

import os
import socket
import struct
import time

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c


def file_name():
  """A name by which TensorBoard finds a file, and which no other start of a run has."""
  return f'events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}'


def start(step):
  """What a file begins with; what earlier files say of `step` and later steps is hidden."""
  began = SessionLog(status=SessionLog.START)
  return _record(file_version='brain.Event:2') + _record(step=step, session_log=began)


def scalars(step, values):
  """values: name -> number"""
  summary = Summary(value=[Summary.Value(tag=k, simple_value=x) for k, x in values.items()])
  return _record(step=step, summary=summary)


def _record(**fields):
  """An Event in the frame of a TFRecord: length, checksum of it, data, checksum of them."""
  data = Event(wall_time=time.time(), **fields).SerializeToString()
  length = struct.pack('<Q', len(data))
  checksums = (struct.pack('<I', masked_crc32c(part)) for part in (length, data))
  return length + next(checksums) + data + next(checksums)
