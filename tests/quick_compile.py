"""Options of XLA for programs that run a few times only: they compile in a third of the time.

A program is compiled as one part: parts could be compiled side by side, but all cores are busy.
"""

import functools

import jax

OPTIONS = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
  'xla_cpu_use_fusion_emitters': False,
  'xla_cpu_parallel_codegen_split_count': 1,
}
DEFAULTS = {
  'xla_backend_optimization_level': 3,
  'xla_llvm_disable_expensive_passes': False,
  'xla_cpu_use_fusion_emitters': True,
  'xla_cpu_parallel_codegen_split_count': 32,
}
FLAGS = ' '.join(f'--{name}={value}' for name, value in OPTIONS.items())

# How sums are fused may depend on the size of a batch where XLA's emitters of fusions do not do it;
# for images that must be equal to the bit.
TO_THE_BIT = OPTIONS | {'xla_cpu_use_fusion_emitters': True}
jit_to_the_bit = functools.partial(jax.jit, compiler_options=TO_THE_BIT)
