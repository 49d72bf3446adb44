"""What an answers bundle is measured by: questions, scores, baselines and calibration."""
