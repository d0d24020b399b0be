"""Signals where several processes run; loop_test and main_test send them to one."""

import signal

import jax
import pytest

from unrealnas_jax import stop


@pytest.fixture
def received(monkeypatch):
  """The signals that come as SIGTERM; with several processes that is the handler of JAX."""
  numbers = []
  before = signal.signal(signal.SIGTERM, lambda number, frame: numbers.append(number))
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  yield numbers
  signal.signal(signal.SIGTERM, before)


def test_with_several_processes_both_signals_go_to_jax(received):
  with stop.at_once(), stop.after_steps():
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
  assert received == [signal.SIGTERM] * 2
  with pytest.raises(KeyboardInterrupt):
    signal.raise_signal(signal.SIGINT)


def test_jax_says_after_which_call_to_stop(received, monkeypatch):
  calls = []

  def reached(number):
    calls.append(number)
    return len(calls) == 3

  monkeypatch.setattr(stop.multihost_utils, 'reached_preemption_sync_point', reached)
  found = []
  for _ in range(2):  # numbers go on through the trainings of a run
    with stop.after_steps() as asked:
      found += [asked(), asked()]
  assert found == [False, False, True, False]
  assert calls == list(range(calls[0], calls[0] + 4))
