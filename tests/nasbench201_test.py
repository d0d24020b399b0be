"""Cells of NAS-Bench-201: all of them, their text form both ways, and what is refused."""

import pytest

from unrealnas_jax import nasbench201
from unrealnas_jax.nasbench201 import Architecture

TEXT = '|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_3x3~2|'
OPS = ('nor_conv_3x3', 'nor_conv_1x1', 'avg_pool_3x3', 'skip_connect', 'none', 'nor_conv_3x3')


def test_text_names_the_edges_in_their_order():
  assert nasbench201.EDGES == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
  assert nasbench201.to_text(Architecture(OPS)) == TEXT
  for text in (TEXT, f' {TEXT}\n'):
    assert nasbench201.from_text(text) == Architecture(OPS)


def test_every_cell_has_a_text_of_its_own():
  every = nasbench201.architectures()
  texts = [nasbench201.to_text(architecture) for architecture in every]
  assert len(set(texts)) == len(set(every)) == 5**6
  assert tuple(map(nasbench201.from_text, texts)) == every
  assert every[0].ops == ('none',) * 6
  assert every[1].ops == (*('none',) * 5, 'skip_connect')


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', "'' names 1 nodes; allowed: 3 as in |op~0|+|op~0|op~1|+|op~0|op~1|op~2|"),
    (TEXT[: TEXT.rindex('+')], 'names 2 nodes'),
    (f'{TEXT}+|none~0|', 'names 4 nodes'),
    (TEXT.replace('+', ''), 'names 1 nodes'),
    (TEXT[1:], "node 1 is 'nor_conv_3x3~0|'; allowed: |op~0|"),
    (TEXT[:-1], 'node 3 is '),
    (f'{TEXT}|', 'node 3 is '),
    (TEXT.replace('|avg_pool_3x3~1', ''), "node 2 is '|nor_conv_1x1~0|'; allowed: |op~0|op~1|"),
    (TEXT.replace('avg_pool_3x3~1', 'avg_pool_3x3~2'), 'node 2 is '),
    (TEXT.replace('none~1', 'none'), 'node 3 is '),
    (TEXT.replace('none~1', '~1'), "edge from node 1 to node 3: unknown operation ''; known: none"),
    (TEXT.replace('none', 'max_pool_3x3'), "to node 3: unknown operation 'max_pool_3x3'; known:"),
    (TEXT.replace('nor_conv_1x1', ' none'), "from node 0 to node 2: unknown operation ' none'"),
  ],
)
def test_other_text_is_refused_and_the_fault_named(text, message):
  with pytest.raises(ValueError, match='^x.txt: ') as caught:
    nasbench201.from_text(text, 'x.txt')
  assert message in str(caught.value)


def test_validate_wants_six_known_operations():
  nasbench201.validate(Architecture(OPS))
  with pytest.raises(ValueError, match='x has 5 operations; allowed: one for each of 6 edges'):
    nasbench201.validate(Architecture(OPS[1:]), 'x')
  with pytest.raises(ValueError, match="x: edge from node 0 to node 1: unknown operation 'conv'"):
    nasbench201.validate(Architecture(('conv', *OPS[1:])), 'x')
