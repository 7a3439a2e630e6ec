"""Detectors of one signal: how strange is this value, given everything seen before. `base` says what each must do."""
