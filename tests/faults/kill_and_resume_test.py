"""A search that is killed five times at random moments ends as one that never was."""

import kill_and_resume


def test_killed_five_times_is_never_stopped(tmp_path, compiled):
  report = kill_and_resume.trial(5, 0, tmp_path, compiled)
  assert report['different'] == []
  assert sum(report.get(moment.__name__, 0) for moment in kill_and_resume.MOMENTS) == 5
  assert report['searches'] >= 1
