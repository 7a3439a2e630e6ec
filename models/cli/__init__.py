"""The workshop's commands, one file a noun; found in a checkout only."""
