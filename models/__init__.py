"""The data scientists' side: train, backtest, label, keep versions. Makes bundles; no runtime ever loads it."""
