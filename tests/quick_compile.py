"""Options of XLA for programs that run a few times only: they compile in a third of the time."""

OPTIONS = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
  'xla_cpu_use_fusion_emitters': False,
}
DEFAULTS = {
  'xla_backend_optimization_level': 3,
  'xla_llvm_disable_expensive_passes': False,
  'xla_cpu_use_fusion_emitters': True,
}
FLAGS = ' '.join(f'--{name}={value}' for name, value in OPTIONS.items())
