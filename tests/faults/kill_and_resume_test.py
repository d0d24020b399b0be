"""A search that is killed three times at random moments ends as one that never was."""

import kill_and_resume


def test_killed_three_times_is_never_stopped(tmp_path, compiled):
  """With this seed once at each kind of moment, unless the search ends before it comes."""
  report = kill_and_resume.trial(3, 6, tmp_path, compiled)
  assert report['different'] == []
  assert sum(report.get(moment.__name__, 0) for moment in kill_and_resume.MOMENTS) == 3
  assert report['searches'] >= 1
