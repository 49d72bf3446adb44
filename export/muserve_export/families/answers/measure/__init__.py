"""Evaluation of answers bundles: questions, scores, baselines and calibration."""
