"""One emulated region: MiniStack with what it gets wrong for us put right. Runs in the emulator's own environment."""
