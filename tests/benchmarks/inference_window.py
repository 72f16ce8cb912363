"""Times one window of each built-in model: `python -m tests.benchmarks.inference_window [REPEATS]`."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from inference_service.builtin import ecg_rhythm, news2, vital_limits
from inference_service.builtin.model import Observed, PatientContext
from inference_service.signals.window import Window
from tests.support.simulator import simulate_ecg, simulate_rr

AT = datetime(2024, 1, 1, tzinfo=UTC)


def cases() -> dict[str, Callable[[], Any]]:
    ecg = {rate: simulate_ecg(simulate_rr(1, 0.5, 80), 30, rate) for rate in (125.0, 250.0, 500.0)}
    windows = {rate: [Window("ECG", "mV", rate, AT, samples)] for rate, samples in ecg.items()}
    two_leads = [Window("ECG", "mV", 250.0, AT, ecg[250.0], lead) for lead in ("II", "V")]
    values = (("RESP", "/min", 16), ("SpO2", "%", 97), ("BP", "mmHg", 120), ("HR", "/min", 70), ("TEMP", "°C", 37))
    vitals = [Window(s, u, 1, AT, np.array([float(v)]), "systolic" if s == "BP" else "") for s, u, v in values]
    context = PatientContext(on_oxygen=Observed(False, AT), consciousness=Observed("A", AT))
    return {
        **{f"ecg_rhythm 30 s at {r:.0f} Hz": lambda w=w: ecg_rhythm.infer(w, context) for r, w in windows.items()},
        "ecg_rhythm 30 s, two leads at 250 Hz": lambda: ecg_rhythm.infer(two_leads, context),
        "news2": lambda: news2.infer(vitals, context),
        "vital_limits": lambda: vital_limits.infer(vitals, context),
    }


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{'window':<40} {'median ms':>10} {'p99 ms':>10}")
    for name, run in cases().items():
        run()
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            run()
            times.append(1000 * (time.perf_counter() - began))
        print(f"{name:<40} {np.median(times):>10.2f} {np.percentile(times, 99):>10.2f}")


if __name__ == "__main__":
    main()
