"""The text of --help."""

import re

import pytest
from stand_ins import NOISE, ROOT, contents, install, start

from unrealnas_jax import main, rules, usage


@pytest.fixture(autouse=True)
def calls(monkeypatch):
  calls = install(monkeypatch)
  monkeypatch.setattr(main.sys.modules['__main__'], '__doc__', 'A program.\n\nMore of it.\n')
  return calls


@pytest.mark.parametrize('flag', ['--help', '-h', '-help', '--helpshort'])
def test_help_tells_flags_and_configs(flag, capsys, calls):
  assert start(flag) == 0
  out = capsys.readouterr().out
  assert out.startswith('A program.\n\nMore of it.\n\nFlags:\n  --config=...: config file;')
  for name in ('workdir=...', 'dry_run', 'distributed'):
    assert f'\n  --{name}: ' in out
  for path in (ROOT / 'configs').glob('*.py'):
    assert (f'  configs/{path.name}: ' in out) == (path.stem not in ('default', 'datasets'))
  assert '--config.seed' not in out
  assert max(map(len, out.splitlines())) <= 100
  assert calls == []


def test_help_with_a_config_tells_its_keys(capsys, calls):
  assert start(f'--config={NOISE}', '--config.search.epochs=7', '--help') == 0
  out = capsys.readouterr().out
  keys = re.findall(r'^  --config\.([\w.]+)=', out, re.MULTILINE)
  assert sorted(keys) == sorted(rules.RULES)
  assert '  --config.checkpoint.keep=3: how many of the last ones stay\n' in out  # behind the key
  assert '  --config.search.epochs=7: Passes over the half of the data' in out  # above it
  assert '  --config.search.augment.flip=False: mirror half of the images' in out  # first comment
  assert calls == []


def test_keys_without_comments_are_told_by_their_rule(capsys, monkeypatch, tmp_path):
  monkeypatch.setattr(usage, 'CONFIGS', tmp_path)
  assert start(f'--config={NOISE}', '--help') == 0
  assert '\n  --config.checkpoint.keep=3: a whole number of at least 1\n' in capsys.readouterr().out


def test_help_with_a_bad_config_says_what_is_bad(capsys):
  assert start('--config=nowhere.py', '--help') == 2
  assert 'nowhere.py' in capsys.readouterr().err


def test_without_configs_beside_the_package(monkeypatch, tmp_path):
  monkeypatch.setattr(usage, 'CONFIGS', tmp_path)
  assert 'Configs:' not in usage.text('About.', main.flags.FlagValues())


def test_dry_run_runs_nothing(monkeypatch, tmp_path, calls):
  monkeypatch.setattr(main, 'estimate', lambda config, workdir: calls.append(workdir))
  assert start(f'--config={NOISE}', f'--workdir={tmp_path}/run', '--dry_run') == 0
  assert calls == [f'{tmp_path}/run']
  assert contents(tmp_path) == {}
