"""Model bundles: all that decides how readings are judged, as one file.

    model.py        what a Bundle is, and its digest
    manifest.py     a Bundle's fields as JSON, and back
    container.py    the file: `load`, `read`, `write`, `save`
    difference.py   what differs between two
    recorded.py     the passes over a fleet's recordings that every way of learning shares
    learn.py        a Bundle from CSV files of machines that are well
    runtime.py      what a runtime does with the path of a bundle

Runtimes need `model` (standard library only) and `container` (safetensors).
"""
