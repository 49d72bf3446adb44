"""The published first LSTM: plain values in a window to the next value, rolled out step by step.

The forecast family selects it with `architecture = "next_value"`, as its recipe `tutorial` does. Settings, recipes,
data and figures are that family's.
"""
