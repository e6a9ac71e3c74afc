"""Environments behind one contract: one adapter per benchmark, and the worker process that hosts it.

`envs.make` gives an environment in this process, `envs.worker.WorkerEnv` the same one in a process of its own.
This package's `errors`, `options`, `registry`, `spaces` and `host` run on Python 3.8 with the standard library and
NumPy, because an old simulator may need an interpreter of its own.
"""

from .registry import benchmarks, make, tasks

__all__ = ["benchmarks", "make", "tasks"]
