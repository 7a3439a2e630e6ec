"""Model bundles: all that decides how readings are judged, as one file.

    model.py        what a Bundle is, and its digest
    manifest.py     a Bundle's fields as JSON, and back
    container.py    the file: `load`, `read`, `write`, `save`
    difference.py   what differs between two
    learn.py        a Bundle from the recorded readings of a fleet

Runtimes need `model` (standard library only) and `container` (safetensors).
"""
