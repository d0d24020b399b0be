"""Being asked to stop: SIGTERM and SIGINT end a training after its current step, with all saved.

Where no training is under way there is nothing to save, and a signal ends the program at once.
Several processes stop after the same step, whichever of them is asked.
"""

import contextlib
import itertools
import signal

import jax
from jax.experimental import multihost_utils

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the same command is to be given again

_CALLS = itertools.count()  # of what `after_steps` gives; the same in every process


@contextlib.contextmanager
def at_once():
  """Makes SIGTERM and SIGINT alike while a run lasts: both raise KeyboardInterrupt.

  With several processes they wait for `after_steps` instead, else one would leave the others.
  """
  if jax.process_count() == 1:
    handlers = {signal.SIGTERM: signal.default_int_handler}
  else:  # SIGTERM is jax.distributed's: it tells the other processes
    handlers = {signal.SIGINT: lambda number, frame: signal.raise_signal(signal.SIGTERM)}
  with _handled_by(handlers):
    yield


@contextlib.contextmanager
def after_steps():
  """Lets signals wait for the end of a step: gives asked() -> whether to save and stop there.

  asked is to be called after every step, by all processes. A second signal raises
  KeyboardInterrupt at once, and so does one that came after the last call, at the end.
  """
  if jax.process_count() > 1:
    yield lambda: multihost_utils.reached_preemption_sync_point(next(_CALLS))
    return
  received = []

  def wait(number, frame):
    received.append(number)
    for each in handlers:
      signal.signal(each, signal.default_int_handler)

  handlers = {signal.SIGTERM: wait, signal.SIGINT: wait}
  with _handled_by(handlers):
    yield lambda: bool(received)
  if received:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _handled_by(handlers):
  before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
  try:
    yield
  finally:
    for number, handler in before.items():
      # None: it was not set from Python, and cannot be set back from there.
      signal.signal(number, signal.SIG_DFL if handler is None else handler)
