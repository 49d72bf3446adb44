"""What Muserve costs: measured against what onnxruntime and the encoders give without it."""
