"""What holds for every test: one thread for each engine and for torch, and no test that a slow machine fails.

pytest-xdist runs one worker a core, so that more threads would only take the cores from each other. Set in the
environment, before numpy, torch or onnxruntime are imported, it holds for child processes, too.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MUSERVE_CONFIG_ENGINE_THREADS"):
    os.environ[name] = "1"

settings.register_profile("muserve", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("muserve")
