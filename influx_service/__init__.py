"""Time series of HeartGuard: waveforms and vitals, written and read by stream."""
