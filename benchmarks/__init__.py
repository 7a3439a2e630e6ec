"""Speed and memory as ratios in one run. Each module measures one subject; `main` gathers them for `make bench`."""
