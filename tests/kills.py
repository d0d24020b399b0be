"""What stands for a kill within one process: a function that fails at one of its calls."""


class Killed(Exception):
  """In place of a kill."""


def kill(monkeypatch, module, name, call):
  """Makes a function fail when it is called for the call-th time."""
  calls, function = [], getattr(module, name)

  def dies(*args, **kwargs):
    calls.append(1)
    if len(calls) == call:
      raise Killed
    return function(*args, **kwargs)

  monkeypatch.setattr(module, name, dies)
