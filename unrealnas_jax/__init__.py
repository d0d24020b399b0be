"""Differentiable architecture search on unreal data (noise, random labels) in JAX."""

__version__ = '0.1.0'
